/* Vectors of one precision. REAL, INT, LANES, BITS (of the mantissa), BIAS (of the exponent), MAGIC, the polynomial and
   NAME(x) are defined by the file that includes this one, once for float and once for double. Everything is written with
   the vector extension of GCC and Clang: the same text becomes AVX-512, AVX2, NEON or scalar code.

   exp2 splits x = n + f with |f| <= 1/2, takes 2^f by a polynomial through the Chebyshev nodes (relative error 3e-9 in
   float, 5e-18 in double: below the rounding) and 2^n through the exponent bits. Below the smallest normal number the
   result is 0 (or a subnormal number), above the largest infinity; NaN goes through. */

typedef REAL NAME(vec) __attribute__((vector_size(64)));
typedef REAL NAME(loose) __attribute__((vector_size(64), aligned(sizeof(REAL)), may_alias));
typedef INT NAME(mask) __attribute__((vector_size(64)));

#define VEC NAME(vec)
#define MASK NAME(mask)

static inline VEC NAME(splat)(REAL x) { return x - (VEC){0}; }

static inline VEC NAME(load)(const REAL *p, int64_t count) {
    if (count >= LANES) return *(const NAME(loose) *)p;
    VEC v = {0};
    for (int64_t i = 0; i < count; i++) v[i] = p[i];
    return v;
}

static inline void NAME(store)(REAL *p, VEC v, int64_t count) {
    if (count >= LANES) { *(NAME(loose) *)p = v; return; }
    for (int64_t i = 0; i < count; i++) p[i] = v[i];
}

/* The sum of all lanes, by halves: a sum in order would wait for sixteen additions one after the other. */
static inline REAL NAME(total)(VEC v) {
    REAL part[LANES];
    *(NAME(loose) *)part = v;
#pragma GCC unroll 4
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

static inline VEC NAME(choose)(MASK mask, VEC yes, VEC no) { return (VEC)((mask & (MASK)yes) | (~mask & (MASK)no)); }

#ifdef __AVX512DQ__
/* The same with the instructions that exist for it: f in one (0 for an infinite x), and scaling by a power of two that may
   overflow or fade to 0. */
static inline VEC NAME(exp2)(VEC x) {
    const VEC f = (VEC)AVX(reduce)((WIDE)x, 8), n = x - f; /* n is the nearest integer, no exceptions */
    VEC p = NAME(splat)(EXP2_COEFFICIENTS[EXP2_DEGREE]);
#pragma GCC unroll 16
    for (int k = EXP2_DEGREE - 1; k >= 0; k--) p = p * f + EXP2_COEFFICIENTS[k];
    return (VEC)AVX(scalef)((WIDE)p, (WIDE)n);
}

/* 2^x - 1 without cancellation: (2^f - 1) 2^n + (2^n - 1), the first bracket straight from the polynomial. */
static inline VEC NAME(exp2m1)(VEC x) {
    x = (VEC)AVX(min)((WIDE)NAME(splat)(BIAS + 1), (WIDE)x);
    x = (VEC)AVX(max)((WIDE)NAME(splat)(-2 * BIAS), (WIDE)x);
    const VEC n = (VEC)AVX(roundscale)((WIDE)x, 8), f = x - n;
    VEC p = NAME(splat)(EXP2_COEFFICIENTS[EXP2_DEGREE]);
#pragma GCC unroll 16
    for (int k = EXP2_DEGREE - 1; k >= 1; k--) p = p * f + EXP2_COEFFICIENTS[k];
    return (VEC)AVX(scalef)((WIDE)(p * f), (WIDE)n) + ((VEC)AVX(scalef)((WIDE)NAME(splat)(1), (WIDE)n) - 1);
}
#else
static inline VEC NAME(exp2)(VEC x) {
    /* NaN is neither below nor above, so it passes both bounds. */
    const VEC low = NAME(splat)(-BIAS), high = NAME(splat)(BIAS + 1), magic = NAME(splat)(MAGIC);
    x = NAME(choose)(x < low, low, x);
    x = NAME(choose)(x > high, high, x);
    VEC shifted = x + magic;
    VEC f = x - (shifted - magic);
    VEC p = NAME(splat)(EXP2_COEFFICIENTS[EXP2_DEGREE]);
#pragma GCC unroll 16
    for (int k = EXP2_DEGREE - 1; k >= 0; k--) p = p * f + EXP2_COEFFICIENTS[k];
    MASK n = (MASK)shifted - (MASK)magic;
    return p * (VEC)((n + (INT)BIAS) << BITS);
}

/* 2^x - 1 without cancellation: (2^f - 1) 2^n + (2^n - 1), the first bracket straight from the polynomial. */
static inline VEC NAME(exp2m1)(VEC x) {
    const VEC low = NAME(splat)(-BIAS), high = NAME(splat)(BIAS + 1), magic = NAME(splat)(MAGIC);
    x = NAME(choose)(x < low, low, x);
    x = NAME(choose)(x > high, high, x);
    VEC shifted = x + magic;
    VEC f = x - (shifted - magic);
    VEC p = NAME(splat)(EXP2_COEFFICIENTS[EXP2_DEGREE]);
#pragma GCC unroll 16
    for (int k = EXP2_DEGREE - 1; k >= 1; k--) p = p * f + EXP2_COEFFICIENTS[k];
    MASK n = (MASK)shifted - (MASK)magic;
    const VEC whole = (VEC)((n + (INT)BIAS) << BITS);
    return p * f * whole + (whole - 1);
}
#endif

static inline VEC NAME(sigmoid)(VEC x) { return 1 / (1 + NAME(exp2)(x * (REAL)-LOG2_E)); }

/* log(1 + e^x) = max(x, 0) + 2 artanh(w / (2 + w)) with w = e^-|x| <= 1: no digit is lost at either end. */
static inline VEC NAME(softplus)(VEC x) {
    VEC size = (VEC)((MASK)x & ~((MASK)NAME(splat)(-0.0)));
    VEC w = NAME(exp2)(size * (REAL)-LOG2_E);
    VEC s = w / (2 + w), square = s * s, sum = NAME(splat)((REAL)1 / (2 * ARTANH_TERMS + 1));
#pragma GCC unroll 32
    for (int k = ARTANH_TERMS - 1; k >= 0; k--) sum = sum * square + (REAL)1 / (2 * k + 1);
    return (x + size) / 2 + 2 * s * sum;
}
