/* x <- s (H_K (x) H_M) x for rows of K M numbers, M a power of two: butterflies inside each run of M, then the small
   matrix of +-1 across the K runs. sizes: rows, K, M, threads. */

/* One butterfly inside a vector: lane i gets the sum with lane i ^ half, or their difference. */
static inline __attribute__((always_inline)) VEC NAME(inner_butterfly)(VEC v, const int half) {
    MASK other, minus;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        other[i] = i ^ half;
        minus[i] = i & half ? -1 : 0;
    }
#if defined(__GNUC__) && !defined(__clang__)
    const VEC w = __builtin_shuffle(v, other);
#else
    VEC w;
    for (int i = 0; i < LANES; i++) w[i] = v[other[i]];
#endif
    return w + NAME(choose)(minus, -v, v);
}

static void NAME(butterflies)(REAL *x, int64_t size) {
    int64_t first = 1;
    if (size >= LANES) {
        for (int64_t i = 0; i < size; i += LANES) {
            VEC v = NAME(load)(x + i, LANES);
            v = NAME(inner_butterfly)(NAME(inner_butterfly)(NAME(inner_butterfly)(v, 1), 2), 4);
            if (LANES > 8) v = NAME(inner_butterfly)(v, LANES / 2); /* 8 of 16; 8 lanes are done */
            NAME(store)(x + i, v, LANES);
        }
        first = LANES;
    }
    for (int64_t half = first; half < size; half *= 2)
        for (int64_t start = 0; start < size; start += 2 * half) {
            REAL *restrict low = x + start, *restrict high = x + start + half;
            for (int64_t i = 0; i < half; i++) {
                const REAL sum = low[i] + high[i], difference = low[i] - high[i];
                low[i] = sum;
                high[i] = difference;
            }
        }
}

void NAME(hadamard)(const REAL *x, const REAL *base, REAL *out, REAL scale, const int64_t *sizes) {
    const int64_t rows = sizes[0], K = sizes[1], M = sizes[2], threads = sizes[3];
#pragma omp parallel num_threads(threads) if (threads > 1 && rows > 1)
    {
        REAL *spare = K > 1 ? malloc((size_t)(K * M) * sizeof(REAL)) : NULL;
#pragma omp for schedule(static)
        for (int64_t r = 0; r < rows; r++) {
            REAL *restrict y = out + r * K * M;
            REAL *row = K > 1 ? spare : y;
            for (int64_t i = 0; i < K * M; i++) row[i] = scale * x[r * K * M + i];
            for (int64_t k = 0; k < K; k++) NAME(butterflies)(row + k * M, M);
            if (K == 1) continue;
            for (int64_t k = 0; k < K; k++) {
                for (int64_t m = 0; m < M; m++) y[k * M + m] = base[k * K] * row[m];
                for (int64_t j = 1; j < K; j++)
                    for (int64_t m = 0; m < M; m++) y[k * M + m] += base[k * K + j] * row[j * M + m];
            }
        }
        free(spare);
    }
}
