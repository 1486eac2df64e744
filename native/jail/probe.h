#ifndef ACE_PROBE_H
#define ACE_PROBE_H

/* Prints the machine's mechanisms as one JSON object; the exit status. */
int probe(void);

#endif
