/* Every kernel in float; `double.c` is the other half of the library. See build.py. */
#include "prelude.h"

/* Chebyshev interpolation of 2^f on |f| <= 1/2; the constant is 1 so that 2^0 is exact. */
static const float EXP2_F32[] = {1.0f, 0.6931472067028326f, 0.24022650922288757f, 0.05550327226670302f,
                                 0.009618056678524637f, 0.0013400428177615838f, 0.0001546144469856913f};

#define REAL float
#define INT int32_t
#define LANES 16
#define BITS 23
#define BIAS 127
#define MAGIC 12582912.0f
#define EXP2_COEFFICIENTS EXP2_F32
#define EXP2_DEGREE 6
#define ARTANH_TERMS 8
#define NAME(x) fd_##x##_f32
#define WIDE __m512
#define AVX(x) _mm512_##x##_ps
#include "kernels.h"
