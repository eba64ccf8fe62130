/* What the sanitizers are told: which memory is closed, and what orders CUDA threads. kernels/CMakeLists.txt says which
 * of them watches; the emulator's core itself is compiled without. */
#ifndef VIREO_KERNELS_EMULATOR_WATCH_H
#define VIREO_KERNELS_EMULATOR_WATCH_H

#include <cstddef>

#ifdef EMU_ADDRESS_SANITIZER
extern "C" void __asan_poison_memory_region(const volatile void *at, size_t bytes);
extern "C" void __asan_unpoison_memory_region(const volatile void *at, size_t bytes);
#define EMU_CLOSE(at, bytes) __asan_poison_memory_region(at, bytes)
#define EMU_OPEN(at, bytes) __asan_unpoison_memory_region(at, bytes)
#else
#define EMU_CLOSE(at, bytes) ((void)(at), (void)(bytes))
#define EMU_OPEN(at, bytes) ((void)(at), (void)(bytes))
#endif

/* ThreadSanitizer takes fibers for threads: what happened before EMU_BEFORE in any of them is seen after
 * EMU_AFTER of the same address. Switches order nothing, so what no barrier or collective orders is a race. Between
 * EMU_UNORDERED_BEGIN and _END a fiber's writes are nobody's: the emulator's own. */
#ifdef EMU_THREAD_SANITIZER
extern "C" void __tsan_release(void *at);
extern "C" void __tsan_acquire(void *at);
extern "C" void AnnotateIgnoreWritesBegin(const char *file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char *file, int line);
#define EMU_BEFORE(at) __tsan_release(at)
#define EMU_AFTER(at) __tsan_acquire(at)
#define EMU_UNORDERED_BEGIN() AnnotateIgnoreWritesBegin(__FILE__, __LINE__)
#define EMU_UNORDERED_END() AnnotateIgnoreWritesEnd(__FILE__, __LINE__)
#else
#define EMU_BEFORE(at) ((void)(at))
#define EMU_AFTER(at) ((void)(at))
#define EMU_UNORDERED_BEGIN() ((void)0)
#define EMU_UNORDERED_END() ((void)0)
#endif

#endif
