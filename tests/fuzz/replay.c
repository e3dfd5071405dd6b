// SPDX-License-Identifier: Apache-2.0
// A main() for fuzz targets in ordinary builds: feeds every file below the given paths to the target, in a fixed
// order, and then the empty input. No corpus yet is no failure; a file that cannot be read is.
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path, size_t size, unsigned *count)
{
    FILE *f = fopen(path, "rb");
    // Exactly as long as the input: a read past its end is a read past the allocation.
    uint8_t *data = malloc(size ? size : 1);
    int ok = f && data && fread(data, 1, size, f) == size;
    if (f) fclose(f);
    if (ok) {
        LLVMFuzzerTestOneInput(data, size);
        ++*count;
    } else {
        fprintf(stderr, "cannot read %s\n", path);
    }
    free(data);
    return ok ? 0 : 1;
}

static int replay(const char *path, unsigned *count)
{
    struct stat st;
    if (stat(path, &st) != 0) return 0;
    if (!S_ISDIR(st.st_mode)) return replay_file(path, (size_t)st.st_size, count);
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    int failed = n < 0;
    for (int i = 0; i < n; i++) {
        size_t len = strlen(path) + strlen(names[i]->d_name) + 2;
        char *sub = names[i]->d_name[0] == '.' ? NULL : malloc(len);
        if (sub) {
            snprintf(sub, len, "%s/%s", path, names[i]->d_name);
            failed |= replay(sub, count);
        }
        free(sub);
        free(names[i]);
    }
    if (n >= 0) free(names);
    return failed;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    int failed = 0;
    for (int i = 1; i < argc; i++) failed |= replay(argv[i], &count);
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    printf("replayed %u inputs and the empty one\n", count);
    return failed;
}
