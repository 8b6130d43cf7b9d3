/* The compiled path: every kernel in float and in double, one shared library. See build.py. */
#define _ISOC11_SOURCE
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sizes.h"

#define LOG2_E 1.4426950408889634
#define LN_2 0.6931471805599453

/* Chebyshev interpolation of 2^f on |f| <= 1/2; the constant is 1 so that 2^0 is exact. */
static const float EXP2_F32[] = {1.0f, 0.6931472067028326f, 0.24022650922288757f, 0.05550327226670302f,
                                 0.009618056678524637f, 0.0013400428177615838f, 0.0001546144469856913f};
static const double EXP2_F64[] = {1.0, 0.6931471805599453, 0.24022650695910072, 0.0555041086648217, 0.009618129107628484,
                                  0.0013333558146390353, 0.00015403530393362755, 1.5252733856293466e-05,
                                  1.3215486815999978e-06, 1.0178051192960649e-07, 7.054894386348348e-09,
                                  4.456675341049206e-10, 2.5733568308756892e-11};

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

#undef REAL
#undef INT
#undef LANES
#undef BITS
#undef BIAS
#undef MAGIC
#undef EXP2_COEFFICIENTS
#undef EXP2_DEGREE
#undef ARTANH_TERMS
#undef NAME
#undef WIDE
#undef AVX

#define REAL double
#define INT int64_t
#define LANES 8
#define BITS 52
#define BIAS 1023
#define MAGIC 6755399441055744.0
#define EXP2_COEFFICIENTS EXP2_F64
#define EXP2_DEGREE 12
#define ARTANH_TERMS 18
#define NAME(x) fd_##x##_f64
#define WIDE __m512d
#define AVX(x) _mm512_##x##_pd
#include "kernels.h"

int fd_version(void) { return 1; }
