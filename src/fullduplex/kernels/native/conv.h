/* Causal depthwise convolution, with or without SiLU behind it: y_t = f(bias + sum_k w_k x_{t-K+1+k}).

   Forward goes along the rows of a tile of time, backward a block of LANES channels goes down all of time. x may have any
   strides over batch and time. sizes: B, T, D, K, x_batch, x_time, silu, threads. */

static inline __attribute__((always_inline)) VEC NAME(conv_sum)(
    const REAL *x, const REAL *past, const VEC *w, VEC bias, int64_t t, int taps, int64_t x_time, int64_t D, int64_t lanes) {
    VEC sum = bias;
#pragma GCC unroll 4
    for (int k = 0; k < taps; k++) {
        const int64_t at = t - taps + 1 + k;
        sum += w[k] * NAME(load)(at >= 0 ? x + at * x_time : past + (at + taps - 1) * D, lanes);
    }
    return sum;
}

static inline void NAME(conv_taps)(const REAL *weight, VEC *w, int64_t d, int64_t lanes, int64_t K) {
    for (int64_t k = 0; k < K; k++) {
        w[k] = (VEC){0};
        for (int64_t i = 0; i < lanes && i < LANES; i++) w[k][i] = weight[(d + i) * K + k];
    }
}

/* One step, all its channels: rows are read as they lie in memory. turned: the kernel as [blocks of channels][K] vectors. */
static inline __attribute__((always_inline)) void NAME(conv_row)(
    const REAL *x, const REAL *past, const VEC *turned, const REAL *bias, REAL *y, int64_t t, int taps, int64_t x_time,
    int64_t D, int64_t silu) {
    for (int64_t d = 0; d < D; d += LANES, turned += taps) {
        const VEC bias_d = NAME(load)(bias + d, D - d);
        VEC sum = NAME(conv_sum)(x + d, past + d, turned, bias_d, t, taps, x_time, D, D - d);
        if (silu) sum = sum * NAME(sigmoid)(sum);
        NAME(store)(y + t * D + d, sum, D - d);
    }
}

void NAME(conv)(const REAL *x, const REAL *weight, const REAL *bias, const REAL *past, REAL *y, const int64_t *sizes) {
    const int64_t B = sizes[0], T = sizes[1], D = sizes[2], K = sizes[3], x_time = sizes[5], silu = sizes[6];
    const int64_t threads = sizes[7], tiles = (T + CONV_TILE - 1) / CONV_TILE;
    VEC *turned = aligned_alloc(64, (size_t)((D + LANES - 1) / LANES * K) * sizeof(VEC));
    for (int64_t d = 0; d < D; d += LANES) NAME(conv_taps)(weight, turned + d / LANES * K, d, D - d, K);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && B * tiles > 1)
    for (int64_t task = 0; task < B * tiles; task++) {
        const int64_t row = task / tiles, start = task % tiles * CONV_TILE;
        const int64_t stop = start + CONV_TILE < T ? start + CONV_TILE : T;
        const REAL *x_row = x + row * sizes[4], *past_row = past + row * (K - 1) * D;
        for (int64_t t = start; t < stop; t++) {
            if (K == 4 && t >= 3) NAME(conv_row)(x_row, past_row, turned, bias, y + row * T * D, t, 4, x_time, D, silu);
            else NAME(conv_row)(x_row, past_row, turned, bias, y + row * T * D, t, K, x_time, D, silu);
        }
    }
    free(turned);
}

/* Backward in time, the last K gradients of the sums in a window: dx_t = sum_k w_k g_{t+K-1-k}; below 0, the past's.
   dweight (B, D, K) and dbias (B, D) are kept apart for each row of the batch. */
void NAME(conv_backward)(const REAL *x, const REAL *weight, const REAL *bias, const REAL *past, const REAL *dy, REAL *dx,
                         REAL *dweight, REAL *dbias, REAL *dpast, const int64_t *sizes) {
    const int64_t B = sizes[0], T = sizes[1], D = sizes[2], K = sizes[3], x_time = sizes[5], silu = sizes[6];
    const int64_t threads = sizes[7], blocks = (D + LANES - 1) / LANES;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && B * blocks > 1)
    for (int64_t task = 0; task < B * blocks; task++) {
        const int64_t row = task / blocks, d = task % blocks * LANES, lanes = D - d;
        VEC w[MAX_TAPS], dw[MAX_TAPS] = {0}, window[MAX_TAPS] = {0}, db = {0};
        NAME(conv_taps)(weight, w, d, lanes, K);
        const REAL *x_row = x + row * sizes[4] + d, *past_row = past + row * (K - 1) * D + d;
        const VEC bias_d = NAME(load)(bias + d, lanes);
        for (int64_t t = T - 1; t > -K; t--) {
            VEC g = {0};
            if (t >= 0) {
                g = NAME(load)(dy + (row * T + t) * D + d, lanes);
                if (silu) {
                    VEC sum = NAME(conv_sum)(x_row, past_row, w, bias_d, t, K, x_time, D, lanes);
                    VEC s = NAME(sigmoid)(sum);
                    g *= s * (1 + sum * (1 - s));
                }
                db += g;
                for (int64_t k = 0; k < K; k++) {
                    const int64_t at = t - K + 1 + k;
                    dw[k] += g * NAME(load)(at >= 0 ? x_row + at * x_time : past_row + (at + K - 1) * D, lanes);
                }
            }
            VEC sum = {0};
            for (int64_t k = K - 1; k > 0; k--) window[k] = window[k - 1];
            window[0] = g;
            for (int64_t k = 0; k < K; k++) sum += w[k] * window[K - 1 - k];
            NAME(store)(t >= 0 ? dx + (row * T + t) * D + d : dpast + (row * (K - 1) + t + K - 1) * D + d, sum, lanes);
        }
        NAME(store)(dbias + row * D + d, db, lanes);
        for (int64_t k = 0; k < K; k++)
            for (int64_t i = 0; i < lanes && i < LANES; i++) dweight[(row * D + d + i) * K + k] = dw[k][i];
    }
}
