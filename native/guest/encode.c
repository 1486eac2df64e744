/* The native encoder of the value codec. */
#include "guest.h"

PyMethodDef ace_encode_methods[] = {{NULL, NULL, 0, NULL}};
