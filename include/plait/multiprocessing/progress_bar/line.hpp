// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

// What a progress bar looks like: text alone, without a terminal.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// How far something has come.
struct Advance {
    std::string_view label = {};
    std::size_t done = 0;
    std::size_t total = 0;
    std::chrono::nanoseconds elapsed{0};

    [[nodiscard]] bool is_over() const noexcept { return done >= total; }
    [[nodiscard]] double share() const noexcept {
        return is_over() ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
    }
    [[nodiscard]] double seconds() const noexcept { return std::chrono::duration<double>(elapsed).count(); }
};

/// How many columns a text takes: one for each character of UTF-8.
inline std::size_t columns_of(std::string_view text) noexcept {
    const auto begins = [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; };
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins));
}

/// "02:05", "1:02:05".
inline std::string clock_text(double seconds) {
    if (!(seconds < 360'000'000)) return "?";  // ten years, or no number
    const auto whole = static_cast<unsigned long>(seconds);
    char text[32];
    if (whole < 3600)
        std::snprintf(text, sizeof text, "%02lu:%02lu", whole / 60, whole % 60);
    else
        std::snprintf(text, sizeof text, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60, whole % 60);
    return text;
}

/// "3.4", "340", "3.4M".
inline std::string short_number(double number) {
    const char* unit = "";
    for (const char* larger : {"k", "M", "G", "T"}) {
        if (number < 9'999.5) break;
        number /= 1'000;
        unit = larger;
    }
    char text[32];
    std::snprintf(text, sizeof text, number < 99.95 ? "%.1f%s" : "%.0f%s", number, unit);
    return text;
}

/// "340/s", or "2.5 s each" of slow ones.
inline std::string rate_text(const Advance& advance) {
    if (advance.done == 0 || advance.elapsed.count() <= 0) return "?/s";
    const double rate = static_cast<double>(advance.done) / advance.seconds();
    return rate >= 1 ? short_number(rate) + "/s" : short_number(1 / rate) + " s each";
}

inline std::string count_text(const Advance& advance) {
    return std::to_string(advance.done) + "/" + std::to_string(advance.total);
}

/// A bar of so many columns.
inline std::string bar_text(double share, std::size_t columns, bool has_blocks) {
    std::string bar;
    if (has_blocks) {
        static constexpr const char* parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
        const auto eighths = static_cast<std::size_t>(share * static_cast<double>(8 * columns));
        for (std::size_t i = 0; i < eighths / 8; ++i) bar += "█";
        bar += parts[eighths % 8];
    } else {
        bar.assign(static_cast<std::size_t>(share * static_cast<double>(columns)), '#');
    }
    return bar.append(columns - columns_of(bar), ' ');
}

/// The first `columns` of a text.
inline std::string cut_text(std::string text, std::size_t columns) {
    while (columns_of(text) > columns) {
        while ((static_cast<unsigned char>(text.back()) & 0xC0U) == 0x80U) text.pop_back();
        text.pop_back();
    }
    return text;
}

/// "parsing:  42%|####      | 420/1000 [00:12<00:17, 34/s]": as wide as the terminal allows, and where that is little,
/// without what matters least.
inline std::string bar_line(const Advance& advance, std::size_t width, bool has_blocks) {
    constexpr std::size_t least_bar = 8;
    const std::size_t columns = width > 0 ? width - 1 : 0;  // to write in the last one would begin another line
    const std::string head = advance.label.empty() ? std::string() : std::string(advance.label) + ": ";
    char percent[8];
    const double hundredths = advance.share() * 100;
    std::snprintf(percent, sizeof percent, "%3u%%", static_cast<unsigned>(hundredths));
    const std::string count = " " + count_text(advance);
    const double left = advance.seconds() / advance.share() - advance.seconds();
    const std::string times =
        " [" + clock_text(advance.seconds()) + "<" + clock_text(left) + ", " + rate_text(advance) + "]";

    const auto with_bar = [&](const std::string& tail) {
        const std::size_t rest = columns_of(head) + columns_of(percent) + 2 + columns_of(tail);
        if (columns < rest + least_bar) return std::string();
        return head + percent + "|" + bar_text(advance.share(), columns - rest, has_blocks) + "|" + tail;
    };
    for (const std::string& line : {with_bar(count + times), with_bar(count), head + percent + count, percent + count})
        if (!line.empty() && columns_of(line) <= columns) return line;
    return cut_text(percent, columns);
}

/// "parsing: 1000/1000 in 00:29, 34/s": what is left to read in a file.
inline std::string summary_line(const Advance& advance) {
    return (advance.label.empty() ? std::string() : std::string(advance.label) + ": ") + count_text(advance) + " in " +
           clock_text(advance.seconds()) + ", " + rate_text(advance);
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
