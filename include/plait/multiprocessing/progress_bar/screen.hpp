// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/progress_bar/line.hpp>
#include <plait/os/terminal.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// Whether the environment says that a person's texts are in UTF-8.
inline bool says_utf8(const char* (*variable)(const char*)) {
    for (const char* const name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
        const char* const value = variable(name);
        if (value == nullptr || *value == '\0') continue;
        std::string lower{value};
        for (char& letter : lower)
            if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
        return lower.find("utf-8") != std::string::npos || lower.find("utf8") != std::string::npos;
    }
    return false;
}

inline const char* environment_variable(const char* name) { return std::getenv(name); }

/// What a ProgressBar and the maps that it was given to share: the line, as it stands on standard error.
class ProgressScreen {
public:
    using Clock = std::chrono::steady_clock;

    explicit ProgressScreen(std::string label) : label_{std::move(label)} {
        for (char& letter : label_)
            if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F) letter = ' ';
        const char* const terminal = environment_variable("TERM");
        in_place_ =
            os::is_terminal(os::standard_error) && (terminal == nullptr || std::string_view{terminal} != "dumb");
        has_blocks_ = says_utf8(&environment_variable);
    }

    void update(std::size_t done, std::size_t total) noexcept {
        const std::scoped_lock lock{mutex_};
        if (closed_) return;
        const auto now = Clock::now();
        if (!shows_ && was_complete_) began_ = next_ = now;
        const bool is_first = !std::exchange(shows_, true);
        done_ = done;
        total_ = total;
        if (done_ >= total_) return end_line(now);
        if (!in_place_ || (!is_first && now < next_)) return;
        // From the time that was due, not from now: what is told every 100 ms, a little early once, is drawn all the same.
        next_ = (std::max)(next_ + interval, now + interval / 2);
        draw(now, "");
    }
    void close() noexcept {
        const std::scoped_lock lock{mutex_};
        if (!std::exchange(closed_, true) && shows_) end_line(Clock::now());
    }

private:
    static constexpr std::chrono::milliseconds interval{100};
    static constexpr std::size_t usual_width = 80;

    void end_line(Clock::time_point now) noexcept {
        draw(now, "\n");
        was_complete_ = true;
        shows_ = false;
        drawn_columns_ = 0;
    }
    void draw(Clock::time_point now, std::string_view end) noexcept {
        try {
            const Advance advance{label_, done_, total_, now - began_};
            std::string line;
            if (in_place_) {
                const std::size_t asked = os::terminal_width(os::standard_error);
                const std::size_t width = asked != 0 ? asked : usual_width;
                line = bar_line(advance, width, has_blocks_);
                const std::size_t columns = columns_of(line);
                // Blanks over what stood there, but none that begin another line.
                const std::size_t to_cover = (std::min)(drawn_columns_, width - 1);
                if (columns < to_cover) line.append(to_cover - columns, ' ');
                drawn_columns_ = columns;
                line.insert(line.begin(), '\r');
            } else {
                line = summary_line(advance);
            }
            os::write_message(os::standard_error, line.append(end));
        } catch (...) {
            // Out of memory: a picture less.
        }
    }

    std::mutex mutex_;  // guards all but the first three, which stay as they are
    std::string label_;
    bool in_place_ = false;
    bool has_blocks_ = false;
    std::size_t done_ = 0;
    std::size_t total_ = 0;
    Clock::time_point began_ = Clock::now();
    Clock::time_point next_ = began_;
    std::size_t drawn_columns_ = 0;
    bool shows_ = false;  // whether there is a line that is not complete
    bool was_complete_ = false;
    bool closed_ = false;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
