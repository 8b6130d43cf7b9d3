/* Every kernel in double; `single.c` is the other half of the library. See build.py. */
#include "prelude.h"

/* Chebyshev interpolation of 2^f on |f| <= 1/2; the constant is 1 so that 2^0 is exact. */
static const double EXP2_F64[] = {1.0, 0.6931471805599453, 0.24022650695910072, 0.0555041086648217, 0.009618129107628484,
                                  0.0013333558146390353, 0.00015403530393362755, 1.5252733856293466e-05,
                                  1.3215486815999978e-06, 1.0178051192960649e-07, 7.054894386348348e-09,
                                  4.456675341049206e-10, 2.5733568308756892e-11};

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
