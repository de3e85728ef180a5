// Two threads add to one number, with or without a lock: does the thread sanitizer see the difference?
// SPDX-License-Identifier: MIT

int main(int count, char**) {
    int sum = 0;
#pragma omp parallel for num_threads(2)
    for (int n = 0; n < 1000; ++n) {
        if (count > 1) {
#pragma omp atomic
            sum += n;
        } else {
            sum += n;
        }
    }
    return sum < 0;
}
