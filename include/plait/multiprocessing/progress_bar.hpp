// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/progress.hpp>
#include <plait/multiprocessing/progress_bar/line.hpp>
#include <plait/multiprocessing/progress_bar/screen.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// A line on standard error that shows how far a long map has come: redrawn in place, ten times a second at most.
///
/// Python: what tqdm draws; `multiprocessing` has none. To show it elsewhere, give the map a callable: see `Progress`.
///
///     ProgressBar bar("parsing");
///     auto pages = pool.map(parse, files, {.progress = bar});
///     // parsing:  42%|████▎     | 420/1000 [00:12<00:17, 34/s]
///
/// Where standard error is no terminal, or a dumb one, it writes one line, at the end. It has no colours, and fits the
/// terminal as that is resized. The time left is reckoned from all that was done since the bar was made.
///
/// One map at a time: another one, after that, has a line of its own. With `update` a loop can show itself.
///
/// Threads: every member from any.
/// Lifetime: maps share what they need of it. When it goes, the line ends where it stands.
/// Throws: no more than the memory for it, and that when it is made.
class ProgressBar {
public:
    explicit ProgressBar(std::string label = {})
        : screen_{std::make_shared<detail::ProgressScreen>(std::move(label))} {}
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;
    ~ProgressBar() { close(); }

    /// What a map takes as its `progress`.
    operator Progress() const {
        return [screen = screen_](std::size_t done, std::size_t total) { screen->update(done, total); };
    }

    /// Shows that `done` of `total` are done, where it is time to. When all are, the line is complete.
    void update(std::size_t done, std::size_t total) noexcept { screen_->update(done, total); }
    /// Ends the line, and shows nothing any more.
    void close() noexcept { screen_->close(); }

private:
    std::shared_ptr<detail::ProgressScreen> screen_;
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing
