/* How memory is closed to AddressSanitizer and opened again. kernels/CMakeLists.txt says which sanitizer watches: the
 * emulator's core is compiled without them. */
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

#endif
