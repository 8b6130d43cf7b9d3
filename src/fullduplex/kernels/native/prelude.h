/* What every kernel of the compiled path needs, in either precision. */
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
