// SPDX-License-Identifier: MIT
//
// How does one process hand its work to another? By a queue, which both are given.
//
// Python:
//
//     def write(queue):
//         for word in "ask the owl".split():
//             queue.put(word)
//
//     def read(queue):
//         while (word := queue.get()) is not None:
//             print("got", word)

#include <plait/plait.hpp>

#include <iostream>
#include <optional>
#include <string>

namespace mp = plait::multiprocessing;

using Words = mp::Queue<std::optional<std::string>>;

void write_words(Words words) {
    for (const char* word : {"ask", "the", "owl"}) words.put(word);
    words.put(std::nullopt);  // no more
}

void read_words(Words words) {
    while (std::optional<std::string> word = words.get()) std::cout << "got " << *word << '\n';
}

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);

    Words words;  // a handle: its copies in both processes name one queue
    mp::Process writer(write_words, words);
    mp::Process reader(read_words, words);
    writer.start();
    reader.start();
    writer.join();
    reader.join();
}
