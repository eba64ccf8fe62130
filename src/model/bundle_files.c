/* The safetensors files of a bundle: mapped, held against size and SHA-256 of bundle.json, headers read. The checksum
 * comes first, so that a damaged file is called damaged and not malformed. */
#include <openssl/evp.h>
#include <stdio.h>

#include "bundle_parts.h"
#include "manifest.h"

#define DIGEST_BYTES 32u
#define PATH_BYTES 4096u

static const char *const names[VR_FILE_COUNT] = {"weights.safetensors", "videos.safetensors", "golden.safetensors",
                                                 "state/state.safetensors"};

enum vr_status vr_in_file(enum vr_status status, enum vr_bundle_file file)
{
    return status == VR_OK ? VR_OK : vr_fail_in(status, "%s", names[file]);
}

enum vr_status vr_in_json(enum vr_status status)
{
    return status == VR_OK ? VR_OK : vr_fail_in(status, "bundle.json");
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static enum vr_status read_digest(struct vr_json_value entry, const char *where, unsigned char digest[DIGEST_BYTES])
{
    struct vr_str text = {NULL, 0};
    enum vr_status status = vr_manifest_str(entry, where, "sha256", 2 * DIGEST_BYTES, &text);
    if (status != VR_OK) {
        return status;
    }
    bool valid = text.len == 2 * DIGEST_BYTES;
    for (size_t i = 0; valid && i < DIGEST_BYTES; i++) {
        int high = hex_value(text.data[2 * i]), low = hex_value(text.data[2 * i + 1]);
        valid = high >= 0 && low >= 0;
        digest[i] = (unsigned char)(high * 16 + low);
    }
    return valid ? VR_OK : vr_fail(VR_ERR_FORMAT, "%s: 'sha256' must be 64 hex digits", where);
}

static enum vr_status check_content(const struct vr_mapping *mapping, int64_t bytes,
                                    const unsigned char expected[DIGEST_BYTES])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if ((uint64_t)bytes != mapping->bytes) {
        return vr_fail(VR_ERR_CHECKSUM, "%zu bytes, bundle.json says %lld", mapping->bytes, (long long)bytes);
    }
    const void *data = mapping->data == NULL ? "" : mapping->data;
    if (EVP_Digest(data, mapping->bytes, digest, &length, EVP_sha256(), NULL) != 1 || length != DIGEST_BYTES) {
        return vr_fail(VR_ERR_NOMEM, "SHA-256 failed");
    }
    return memcmp(digest, expected, DIGEST_BYTES) == 0
               ? VR_OK
               : vr_fail(VR_ERR_CHECKSUM, "its SHA-256 is not what bundle.json says");
}

/* Fills `storage->file[file]`, which is closed with the bundle whatever happens here. */
static enum vr_status open_file(struct vr_bundle *bundle, const char *folder, enum vr_bundle_file file, int64_t bytes,
                                const unsigned char digest[DIGEST_BYTES])
{
    struct vr_bundle_storage *storage = bundle->storage;
    struct vr_mapping *mapping = &storage->file[file].mapping;
    char path[PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s/%s", folder, names[file]);
    if (length < 0 || (size_t)length >= sizeof path) {
        return vr_fail(VR_ERR_INVALID, "the path of the bundle is too long");
    }
    enum vr_status status = vr_mapping_open(path, SIZE_MAX, mapping);
    if (status == VR_OK) {
        status = check_content(mapping, bytes, digest);
    }
    if (status == VR_OK) {
        status = vr_safetensors_parse(mapping->data, mapping->bytes, &storage->file[file].tensors);
    }
    if (status == VR_OK) {
        status = vr_claims_begin(storage->arena, storage->file[file].tensors, &storage->file[file].claims);
    }
    bundle->bytes_mapped += mapping->bytes;
    return vr_in_file(status, file);
}

static enum vr_status read_entry(struct vr_bundle *bundle, const char *folder, struct vr_json_value files,
                                 enum vr_bundle_file file)
{
    struct vr_json_value entry;
    unsigned char digest[DIGEST_BYTES];
    char where[64];
    int64_t bytes = 0;
    snprintf(where, sizeof where, "files '%s'", names[file]);
    enum vr_status status = vr_manifest_get(files, "files", names[file], VR_JSON_OBJECT, &entry);
    if (status == VR_OK) {
        status = vr_manifest_keys(entry, where, "bytes sha256");
    }
    if (status == VR_OK) {
        status = vr_manifest_int(entry, where, "bytes", 0, INT64_MAX, &bytes);
    }
    if (status == VR_OK) {
        status = read_digest(entry, where, digest);
    }
    return status == VR_OK ? open_file(bundle, folder, file, bytes, digest) : vr_fail_in(status, "bundle.json");
}

enum vr_status vr_bundle_open_files(struct vr_bundle *bundle, const char *folder, struct vr_json_value files)
{
    enum vr_status status = vr_manifest_keys(
        files, "files", "weights.safetensors videos.safetensors golden.safetensors state/state.safetensors");
    if (status != VR_OK) {
        return vr_fail_in(status, "bundle.json");
    }
    for (uint32_t f = 0; status == VR_OK && f < VR_FILE_COUNT; f++) {
        if (f != VR_FILE_STATE || vr_manifest_has(files, names[f])) {
            status = read_entry(bundle, folder, files, (enum vr_bundle_file)f);
        }
    }
    return status;
}
