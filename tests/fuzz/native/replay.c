/* `main` for compilers without libFuzzer: runs every file, and every file of every directory, that is named, once, and
 * then each of them MUTATIONS times with a few bytes changed, always in the same way. */
#define _GNU_SOURCE
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { MUTATIONS = 200, LONGEST = 1 << 20 };

static uint32_t state = 1;

static uint32_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static void run(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = exact_copy(bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static unsigned run_file(const char *path)
{
    static uint8_t bytes[LONGEST], changed[LONGEST];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    run(bytes, size);
    for (unsigned i = 0; i < MUTATIONS && size > 0; i++) {
        memcpy(changed, bytes, size);
        for (unsigned n = 1 + next_random() % 4; n > 0; n--) {
            static const uint8_t odd[] = {0, 1, 0x7F, 0x80, 0xFF};
            uint32_t r = next_random();
            changed[next_random() % size] = r & 1 ? odd[(r >> 1) % sizeof odd] : (uint8_t)(r >> 8);
        }
        run(changed, next_random() % 8 ? size : next_random() % (size + 1));
    }
    return 1 + MUTATIONS;
}

int main(int argc, char **argv)
{
    unsigned long runs = 0;
    for (int i = 1; i < argc; i++) {
        struct stat s;
        if (stat(argv[i], &s) == 0 && S_ISDIR(s.st_mode)) {
            struct dirent **names;
            int n = scandir(argv[i], &names, NULL, alphasort);
            for (int k = 0; k < n; k++) {
                char path[4096];
                snprintf(path, sizeof path, "%s/%s", argv[i], names[k]->d_name);
                if (names[k]->d_name[0] != '.')
                    runs += run_file(path);
                free(names[k]);
            }
            if (n >= 0)
                free(names);
        } else {
            runs += run_file(argv[i]);
        }
    }
    printf("%lu runs\n", runs);
    return runs > 0 ? 0 : 2;
}
