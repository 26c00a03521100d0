"""The engine's arithmetic: pure torch, which always works, and one in C++ where it can be built."""
