/* Shared memory and the asynchronous copies to it (block.h). */
#include "block.h"

#include <algorithm>
#include <cstring>

#include "watch.h"

namespace emu
{
namespace
{

constexpr size_t RED_ZONE = 128;
constexpr size_t LARGEST_ALIGNMENT = 128;
constexpr char RED = static_cast<char>(0xA5);
constexpr char UNSET = static_cast<char>(0xFF); /* NaN as a float, half or double, -1 as an integer */
constexpr unsigned COPY_BYTES = 16;

bool is_red(const char *from, const char *to)
{
    return std::all_of(from, to, [](char c) { return c == RED; });
}

bool is_intact(const shared_array &array)
{
    const char *begin = array.bytes.data(), *end = begin + array.bytes.size();
    return is_red(begin, array.data) && is_red(array.data + array.size, end);
}

const char dynamic_site = 0;

void check_room(const block &b)
{
    size_t fixed = 0;
    for (const shared_array &array : b.shared) {
        fixed += array.site != &dynamic_site ? array.size : 0;
    }
    const size_t all = fixed + b.of->dynamic_bytes;
    if (fixed > SHARED_BYTES_UNASKED || all > b.of->shared_limit) {
        stop("%zu bytes of shared memory, %zu of them from VR_SHARED: the block gets %zu, VR_SHARED %zu", all, fixed,
             b.of->shared_limit, SHARED_BYTES_UNASKED);
    }
}

shared_array &array_at(block &b, const void *site, size_t bytes, size_t alignment)
{
    for (shared_array &array : b.shared) {
        if (array.site == site) {
            return array;
        }
    }
    EMU_UNORDERED_BEGIN();
    b.shared.push_back(
        {site, bytes, alignment, std::vector<char>(bytes + 2 * RED_ZONE + 2 * LARGEST_ALIGNMENT), nullptr});
    EMU_UNORDERED_END();
    check_room(b);
    return b.shared.back();
}

/* Give the array its place in this block. In half of the blocks it is aligned to its type and to no more, which is all
 * that a GPU promises; in the others to 128 bytes, where AddressSanitizer sees an access just before it. */
void place(block &b, shared_array &array)
{
    const bool least = b.choice(CHOICE_ALIGNMENT) % 2 == 0;
    const size_t past = least && array.alignment < LARGEST_ALIGNMENT ? array.alignment : 0;
    const uintptr_t after = reinterpret_cast<uintptr_t>(array.bytes.data()) + RED_ZONE;
    char *const begin = array.bytes.data(), *const end = begin + array.bytes.size();
    array.data = begin + RED_ZONE + (LARGEST_ALIGNMENT - after % LARGEST_ALIGNMENT) % LARGEST_ALIGNMENT + past;
    EMU_UNORDERED_BEGIN();
    memset(begin, RED, static_cast<size_t>(array.data - begin));
    memset(array.data, UNSET, array.size);
    memset(array.data + array.size, RED, static_cast<size_t>(end - array.data) - array.size);
    EMU_UNORDERED_END();
    EMU_CLOSE(begin, static_cast<size_t>(array.data - begin));
    EMU_CLOSE(array.data + array.size, static_cast<size_t>(end - array.data) - array.size);
}

void finish(pending_copy &copy)
{
    memcpy(copy.to, copy.from, copy.bytes);
    memset(static_cast<char *>(copy.to) + copy.bytes, 0, COPY_BYTES - copy.bytes);
    copy.done = true;
}

} // namespace

void close_shared(block &b)
{
    for (shared_array &array : b.shared) {
        EMU_OPEN(array.bytes.data(), array.bytes.size());
        if (array.data != nullptr && !is_intact(array)) {
            fail("shared memory was written outside its array");
        }
        array.data = nullptr;
    }
}

char *shared_memory(const void *site, size_t bytes, size_t alignment)
{
    block &b = *running;
    shared_array &array = array_at(b, site, bytes, alignment);
    if (array.data == nullptr) {
        place(b, array);
    }
    return array.data;
}

char *dynamic_shared_memory()
{
    return shared_memory(&dynamic_site, running->of->dynamic_bytes, LARGEST_ALIGNMENT);
}

bool is_shared(const void *at, size_t bytes)
{
    const char *const begin = static_cast<const char *>(at);
    for (const shared_array &array : running->shared) {
        if (array.data != nullptr && begin >= array.data && begin + bytes <= array.data + array.size) {
            return true;
        }
    }
    return false;
}

/* Each copy ends at once or when it is waited for: in two cases of four all of them late, in one all at once. */
void copy_async(void *to, const void *from, unsigned bytes)
{
    block &b = *running;
    if (bytes > COPY_BYTES || reinterpret_cast<uintptr_t>(to) % COPY_BYTES != 0 ||
        reinterpret_cast<uintptr_t>(from) % COPY_BYTES != 0) {
        stop("an asynchronous copy of %u bytes that is not aligned to 16, or larger", bytes);
    }
    if (!is_shared(to, COPY_BYTES) || (bytes > 0 && is_shared(from, bytes))) {
        stop("an asynchronous copy that is not from global to shared memory, or that leaves its array");
    }
    b.current->copies.push_back({to, from, bytes, b.current->groups, false});
    const unsigned choice = b.choice(CHOICE_COPY);
    if (choice == 1 || (choice == 3 && b.random.below(2) == 0)) {
        finish(b.current->copies.back());
    }
}

void copy_commit()
{
    running->current->groups++;
}

void copy_wait(unsigned groups_left)
{
    lane *const l = running->current;
    const auto ends = [&](pending_copy &copy) {
        const bool waited_for = copy.group + groups_left < l->groups;
        if (waited_for && !copy.done) {
            finish(copy);
        }
        return waited_for;
    };
    l->copies.erase(std::remove_if(l->copies.begin(), l->copies.end(), ends), l->copies.end());
}

} // namespace emu
