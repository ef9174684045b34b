// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI {

namespace detail {

template <class T>
concept Text = std::convertible_to<const T&, std::string_view>;

template <class Range>
concept TextRange = !Text<Range> && requires(const Range& range) {
    std::end(range);
    requires Text<decltype(*std::begin(range))>;
};

/// Such as a std::map of strings.
template <class Range>
concept TextPairRange = requires(const Range& range) {
    std::end(range);
    requires Text<decltype(std::begin(range)->first)>;
    requires Text<decltype(std::begin(range)->second)>;
};

/// A view of several texts: up to `most` of them by themselves, or a range that lies elsewhere.
template <std::size_t most>
class TextList {
public:
    using Copy = void (*)(const void* range, std::vector<std::string>& to);

    constexpr TextList() noexcept {}
    template <Text... Words>
    explicit TextList(const Words&... words) {
        static_assert(sizeof...(Words) <= most,
                      "plait: too many texts for one pair of braces; give a std::vector<std::string> of them");
        ((words_[count_++] = static_cast<std::string_view>(words)), ...);
    }
    TextList(const void* range, Copy copier) noexcept : range_{range}, copier_{copier} {}

    [[nodiscard]] bool is_given() const noexcept { return count_ != 0 || copier_ != nullptr; }
    [[nodiscard]] std::vector<std::string> copy() const {
        std::vector<std::string> texts;
        for (std::size_t i = 0; i < count_; ++i) texts.emplace_back(words_[i]);
        if (copier_ != nullptr) copier_(range_, texts);
        return texts;
    }

private:
    std::array<std::string_view, most> words_{};
    std::size_t count_ = 0;
    const void* range_ = nullptr;
    Copy copier_ = nullptr;
};

template <class Range>
void copy_texts(const void* range, std::vector<std::string>& to) {
    for (const auto& text : *static_cast<const Range*>(range)) to.emplace_back(static_cast<std::string_view>(text));
}

/// As NAME=value.
template <class Range>
void copy_pairs(const void* range, std::vector<std::string>& to) {
    for (const auto& [name, value] : *static_cast<const Range*>(range)) {
        std::string entry{static_cast<std::string_view>(name)};
        if (entry.find('=') != std::string::npos)
            throw std::invalid_argument("plait: the name of an environment variable has no equals sign: '" + entry +
                                        "'");
        entry.append("=").append(static_cast<std::string_view>(value));
        to.push_back(std::move(entry));
    }
}

}  // namespace detail

/// The program to start and its arguments: words in braces, or any range of strings.
///
///     subprocess::run({"git", "log", "-1"});
///     std::vector<std::string> words{"tar", "-xf", name};
///     subprocess::run(words);
///
/// The first is the program: looked for in this program's PATH unless it has a slash. No shell reads them: what a name
/// has in it stays one argument. Python: the `args` of subprocess.Popen.
/// Lifetime: a view, of which the call that takes it makes copies. Up to 32 words in braces; a range may be of any size.
class Command {
public:
    template <detail::Text... Words>
        requires(sizeof...(Words) != 0)
    Command(const Words&... words) : words_{words...} {}
    template <detail::TextRange Range>
    Command(const Range& words) noexcept : words_{&words, &detail::copy_texts<Range>} {}

    [[nodiscard]] std::vector<std::string> copy() const { return words_.copy(); }

private:
    detail::TextList<32> words_;
};

/// Environment variables: "NAME=value" texts in braces, any range of such, or any of pairs, such as a std::map.
///
/// Lifetime: a view, of which the call that takes it makes copies. Up to 12 texts in braces.
class EnvironmentView {
public:
    /// None given.
    constexpr EnvironmentView() noexcept {}
    template <detail::Text... Entries>
        requires(sizeof...(Entries) != 0)
    EnvironmentView(const Entries&... entries) : entries_{entries...} {}
    template <class Range>
        requires(detail::TextRange<Range> || detail::TextPairRange<Range>)
    EnvironmentView(const Range& entries) noexcept : entries_{&entries, copier<Range>()} {}

    /// An empty range is given, too.
    [[nodiscard]] bool is_given() const noexcept { return entries_.is_given(); }
    [[nodiscard]] std::vector<std::string> copy() const { return entries_.copy(); }

private:
    using Entries = detail::TextList<12>;
    template <class Range>
    static constexpr Entries::Copy copier() {
        if constexpr (detail::TextRange<Range>)
            return &detail::copy_texts<Range>;
        else
            return &detail::copy_pairs<Range>;
    }

    Entries entries_;
};

/// What a standard stream of a started program is: INHERIT, PIPE, DEVNULL, STANDARD_OUTPUT, or an open handle.
class StandardStream {
public:
    enum class Kind : std::uint8_t { inherited, pipe, null_device, standard_output, handle };

    constexpr explicit StandardStream(Kind kind) noexcept : kind_{kind} {}
    /// A descriptor, which stays the caller's, and stays open until the program has started.
    constexpr StandardStream(int handle) noexcept : kind_{Kind::handle}, handle_{handle} {}

    [[nodiscard]] constexpr Kind kind() const noexcept { return kind_; }
    [[nodiscard]] constexpr int handle() const noexcept { return handle_; }

    friend constexpr bool operator==(const StandardStream&, const StandardStream&) noexcept = default;

private:
    Kind kind_;
    int handle_ = -1;
};

/// This program's own; the null device where that is closed.
inline constexpr StandardStream INHERIT{StandardStream::Kind::inherited};
/// A pipe, whose other end this program gets.
inline constexpr StandardStream PIPE{StandardStream::Kind::pipe};
/// Gives nothing to read, and takes all that is written.
inline constexpr StandardStream DEVNULL{StandardStream::Kind::null_device};
/// For the standard error: wherever the standard output goes. Python: subprocess.STDOUT.
inline constexpr StandardStream STANDARD_OUTPUT{StandardStream::Kind::standard_output};

/// How a program is started; in braces, what differs from the default.
///
///     auto child = co_await create_subprocess_exec({"make", "-j4"}, {.standard_output = PIPE, .working_directory = "src"});
///
/// Python: the keyword arguments of subprocess.Popen.
/// Lifetime: a view, of which the call that takes it makes copies.
struct SubprocessOptions {
    StandardStream standard_input = INHERIT;
    StandardStream standard_output = INHERIT;
    StandardStream standard_error = INHERIT;
    EnvironmentView environment{};         ///< all of it; this program's where that is {}
    EnvironmentView extra_environment{};   ///< over that, for variables of the same name
    std::string_view working_directory{};  ///< also where a program named by a relative path is; empty: this program's
    bool start_new_session = false;        ///< away from the terminal, at the head of its own process group
    bool start_new_process_group = false;  ///< at the head of it, in this session
    std::size_t limit = 64 * 1024;         ///< of the streams that asyncio makes of its pipes
};

namespace detail {

/// What is to be started, with copies of all texts, checked.
struct ProgramPlan {
    /// Throws: std::invalid_argument for no word at all, a zero byte in a text, an environment entry without a name, and
    /// STANDARD_OUTPUT for another stream than the standard error.
    ProgramPlan(const Command& command, const SubprocessOptions& options);

    std::vector<std::string> words;
    std::optional<std::vector<std::string>> environment;
    std::vector<std::string> extra_environment;
    std::string working_directory;
    std::array<StandardStream, 3> streams;
    bool start_new_session;
    bool start_new_process_group;

private:
    void check() const;
};

inline ProgramPlan::ProgramPlan(const Command& command, const SubprocessOptions& options)
    : words{command.copy()},
      extra_environment{options.extra_environment.copy()},
      working_directory{options.working_directory},
      streams{options.standard_input, options.standard_output, options.standard_error},
      start_new_session{options.start_new_session},
      start_new_process_group{options.start_new_process_group} {
    if (options.environment.is_given()) environment = options.environment.copy();
    check();
}

inline void ProgramPlan::check() const {
    const auto check_text = [](const std::string& text) {
        if (text.find('\0') != std::string::npos)
            throw std::invalid_argument("plait: no text that a program is started with can have a zero byte in it");
    };
    const auto check_entry = [&](const std::string& entry) {
        check_text(entry);
        if (const std::size_t equals = entry.find('='); equals == 0 || equals == std::string::npos)
            throw std::invalid_argument("plait: an environment entry is NAME=value, not '" + entry + "'");
    };
    if (words.empty()) throw std::invalid_argument("plait: a command has at least one word, the program");
    for (const std::string& word : words) check_text(word);
    if (environment)
        for (const std::string& entry : *environment) check_entry(entry);
    for (const std::string& entry : extra_environment) check_entry(entry);
    check_text(working_directory);
    if (streams[0] == STANDARD_OUTPUT || streams[1] == STANDARD_OUTPUT)
        throw std::invalid_argument("plait: only the standard error can be STANDARD_OUTPUT");
}

/// Of a program of which the system did not tell how it ended, because somebody else in this one waited for it.
inline constexpr int unknown_returncode = 255;

/// The words as one would type them to a shell, shortened where they are many.
inline std::string describe_command(const std::vector<std::string>& words) {
    constexpr std::size_t longest = 200;
    std::string text;
    for (const std::string& word : words) {
        if (!text.empty()) text += ' ';
        const bool is_plain = !word.empty() && word.find_first_of(" \t\n\"'\\|&;()<>$`*?[]#~") == std::string::npos;
        text += is_plain ? word : "'" + word + "'";
        if (text.size() > longest) return text.substr(0, longest) + "...";
    }
    return text;
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI
