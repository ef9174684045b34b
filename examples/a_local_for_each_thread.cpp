// SPDX-License-Identifier: MIT
//
// How does each thread keep a variable of its own? In a Local.
//
// Python:
//
//     local = threading.local()
//
//     def greet():
//         print("Hello,", local.student, "in", threading.current_thread().name)
//
//     def process(name):
//         local.student = name
//         greet()
//
//     a = threading.Thread(target=process, args=("Alice",), name="Thread-A")

#include <plait/plait.hpp>

#include <iostream>
#include <mutex>
#include <string>

namespace th = plait::threading;

struct Student {
    std::string name;
};

th::Local<Student> local;
th::Lock output;

void greet() {
    std::scoped_lock guard{output};
    std::cout << "Hello, " << local->name << " in " << th::current_thread().name() << '\n';
}

void process(const std::string& name) {
    local->name = name;  // this thread's own: no lock is needed, and no parameter to greet()
    greet();
}

int main() {
    th::Thread a(th::ThreadOptions{.name = "Thread-A"}, process, "Alice");
    th::Thread b(th::ThreadOptions{.name = "Thread-B"}, process, "Bob");
    a.start();
    b.start();
    a.join();
    b.join();
    std::cout << "In " << th::current_thread().name() << " the name is '" << local->name << "'.\n";
}
