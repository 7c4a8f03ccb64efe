/* native/cuda_library.cpp knows by this function that the kernels run on the CPU. */
extern "C" __attribute__((visibility("default"))) int peft4j_cuda_runs_on_the_host() {
  return 1;
}
