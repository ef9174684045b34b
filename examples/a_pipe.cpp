// SPDX-License-Identifier: MIT
//
// How do two processes talk, in both directions? By a pipe, an end for each.
//
// Python:
//
//     def answer(end):
//         while True:
//             try:
//                 question = end.recv()
//             except EOFError:
//                 return
//             end.send(question.upper())
//
//     ours, theirs = Pipe()

#include <plait/plait.hpp>

#include <cctype>
#include <iostream>
#include <string>
#include <utility>

namespace mp = plait::multiprocessing;

void answer(mp::Connection end) {
    try {
        for (;;) {
            auto question = end.recv<std::string>();
            for (char& letter : question) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
            end.send(question);
        }
    } catch (const plait::EndOfStream&) {
        std::cout << "no more questions\n";
    }
}

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);

    auto [ours, theirs] = mp::Pipe();
    mp::Process child(answer, std::move(theirs));  // an end has one owner: it moves
    child.start();
    for (const char* question : {"who is there?", "what time is it?"}) {
        ours.send(std::string(question));
        std::cout << ours.recv<std::string>() << '\n';
    }
    ours.close();
    child.join();
}
