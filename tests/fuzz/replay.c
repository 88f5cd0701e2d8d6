/*
 * replay.c: run a fuzz target over the files of its corpus, once each: main() where libFuzzer has none.
 * Usage: fuzz_NAME FOLDER. Exits 1 if there is nothing to replay.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fmpipe/fs.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    int n_files = 0;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        fmp_err err = FMP_ERR_INIT;
        fmp_map map;
        char path[4096];
        if (entry->d_name[0] == '.') { continue; }
        (void)snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        if (fmp_map_file(path, &map, &err) != FMP_OK) {
            fprintf(stderr, "%s: %s\n", path, err.message);
            return 1;
        }
        (void)LLVMFuzzerTestOneInput(map.data, map.len);
        fmp_unmap(&map);
        n_files++;
    }
    if (folder) { (void)closedir(folder); }
    printf("%d inputs replayed\n", n_files);
    return n_files > 0 ? 0 : 1;
}
