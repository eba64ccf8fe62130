/* Fuzz target: bundle.json of a small sound bundle, edited as the input says, beside that bundle's own files. What is
 * refused has a text that names the bundle; what is accepted has room and columns as its networks say. Edits rather
 * than whole texts, so that most inputs stay JSON and get past the checksums.
 *
 * An edit is 4 bytes and what follows: its place in the text (2 bytes, a part in 65,536), how many bytes go (1), how
 * many of the next bytes come in their place (1). */
#include "vireo/bundle.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 65536u

static char folder[] = "/tmp/vireo-fuzz-XXXXXX", manifest[PATH_MAX];
static char sound[TEXT_MAX], text[2 * TEXT_MAX];
static size_t sound_len;

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void clean_up(void)
{
    char command[PATH_MAX];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    require(system(command) == 0);
}

/* A folder with links to the sound bundle's tensors, in which bundle.json is written anew for each input. */
static void set_up(void)
{
    static const char *const files[] = {"weights.safetensors", "videos.safetensors", "golden.safetensors", "state"};
    char to[PATH_MAX];
    require(mkdtemp(folder) != NULL);
    atexit(clean_up);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char from[PATH_MAX];
        snprintf(from, sizeof from, "%s/%s", VIREO_TINY_BUNDLES "/small", files[i]);
        snprintf(to, sizeof to, "%s/%s", folder, files[i]);
        require(symlink(from, to) == 0);
    }
    FILE *file = fopen(VIREO_TINY_BUNDLES "/small/bundle.json", "r");
    require(file != NULL);
    sound_len = fread(sound, 1, sizeof sound, file);
    require(sound_len > 0 && sound_len < sizeof sound && fclose(file) == 0);
    snprintf(manifest, sizeof manifest, "%s/bundle.json", folder);
}

/* The sound text with the input's edits; its length. */
static size_t edit(const uint8_t *data, size_t size)
{
    size_t len = sound_len;
    memcpy(text, sound, len);
    while (size >= 4) {
        const size_t at = len * (data[0] << 8 | data[1]) >> 16;
        const size_t gone = data[2] < len - at ? data[2] : len - at;
        const size_t come = data[3] < size - 4 ? data[3] : size - 4;
        if (len - gone + come > sizeof text) {
            break;
        }
        memmove(text + at + come, text + at + gone, len - at - gone);
        memcpy(text + at, data + 4, come);
        len += come - gone;
        data += 4 + come;
        size -= 4 + come;
    }
    return len;
}

static void write_manifest(size_t len)
{
    FILE *file = fopen(manifest, "w");
    require(file != NULL && fwrite(text, 1, len, file) == len && fclose(file) == 0);
}

static void check_accepted(const struct vr_bundle *bundle)
{
    const struct vr_ranker *ranker = &bundle->ranker;
    uint32_t width = 0;
    for (uint32_t e = 0; e < VR_ENTITY_COUNT; e++) {
        width += ranker->block[e].width;
    }
    require(width == ranker->width && ranker->level_count > 0);
    require(bundle->user_tower.layer_count > 0 && bundle->tower_dim > 0 && bundle->videos.count > 0);
    require(*bundle->model_version != '\0');
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    struct vr_bundle *bundle = NULL;
    set_up();
    write_manifest(edit(NULL, 0));
    require(vr_bundle_open(folder, &bundle) == VR_OK); /* or nothing below would be past the first check */
    vr_bundle_close(bundle);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_bundle *bundle = NULL;
    write_manifest(edit(data, size));
    if (vr_bundle_open(folder, &bundle) == VR_OK) {
        check_accepted(bundle);
    } else {
        require(bundle == NULL && strstr(vr_error_text(), folder) != NULL);
    }
    vr_bundle_close(bundle);
    return 0;
}
