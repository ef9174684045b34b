// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/posix/fork_mark.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>

namespace plait::inline PLAIT_ABI::os {

/// By a page of memory that the kernel empties in a copy (Linux 4.14): one load for each question.
class ForkMark {
public:
    ForkMark() noexcept {
        void* const page = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) return;
        // Who takes advice that does not exist, as an emulator may, takes none.
        if (::madvise(page, size_, MADV_WIPEONFORK) != 0 || ::madvise(page, size_, no_advice) == 0) {
            ::munmap(page, size_);
            return;
        }
        word_ = static_cast<volatile unsigned*>(page);
        *word_ = original;
    }
    ForkMark(const ForkMark&) = delete;
    ForkMark& operator=(const ForkMark&) = delete;
    ~ForkMark() {
        if (word_ != nullptr) ::munmap(const_cast<unsigned*>(word_), size_);
    }

    [[nodiscard]] bool is_copy() const noexcept { return word_ != nullptr ? *word_ != original : by_number_.is_copy(); }

private:
    static constexpr unsigned original = 1;  // 0 in a copy; written before anybody can ask, and never again
    static constexpr int no_advice = -1;

    const std::size_t size_ = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const ForkMarkByNumber by_number_;
    volatile unsigned* word_ = nullptr;  // volatile: a fork changes it behind the compiler's back
};

}  // namespace plait::inline PLAIT_ABI::os
