// What the stand-ins of both libraries share (standin.h). Failures are exceptions, as in FAISS.
#ifndef VIREO_TESTS_LIBRARIES_STANDIN_HH
#define VIREO_TESTS_LIBRARIES_STANDIN_HH

#include <cstddef>
#include <cstdint>
#include <thread>

struct vr_seam_stream;

namespace standin
{
// Counted while it lives.
struct counted {
    counted();
    ~counted();
    counted(const counted &) = delete;
    counted &operator=(const counted &) = delete;
};

// A library's handles: of the thread that made them.
struct handles : counted {
    handles();
    ~handles();
    void use() const; // each call says so
    void reserve(size_t bytes);

    std::thread::id owner;
    vr_seam_stream *stream = nullptr;
    void *memory = nullptr;
};

// Vectors that can be searched: the caller's, or a copy.
struct vectors : counted {
    ~vectors();
    void build(const handles &own, size_t rows, size_t dim, const float *vector, bool copied);
    void search(const handles &own, size_t queries, const float *query, size_t k, int64_t *id, float *score) const;

    size_t rows = 0, dim = 0;
    const float *vector = nullptr;
    void *copy = nullptr;
    vr_seam_stream *stream = nullptr; // that the copy is put on
};
} // namespace standin

#endif
