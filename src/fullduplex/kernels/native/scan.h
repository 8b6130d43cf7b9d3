/* h_t = a_t h_{t-1} + b_t, real or complex (PARTS = 1 or 2 numbers a value), forward or backward in time. One row at a
   time: the row before is still in the first cache, so memory moves a, b and h once each.

   sizes: B, T, D, a_batch, a_time, b_batch, b_time (strides in values), reverse, threads. */

static void NAME(scan_rows)(const REAL *a, const REAL *b, const REAL *h, REAL *out, int64_t width) {
    const REAL *restrict a_ = a, *restrict b_ = b, *restrict h_ = h;
    REAL *restrict o = out;
    for (int64_t d = 0; d < width; d++) o[d] = a_[d] * h_[d] + b_[d];
}

static void NAME(scan_rows_complex)(const REAL *a, const REAL *b, const REAL *h, REAL *out, int64_t width) {
    const REAL *restrict a_ = a, *restrict b_ = b, *restrict h_ = h;
    REAL *restrict o = out;
    for (int64_t d = 0; d < width; d++) {
        REAL ar = a_[2 * d], ai = a_[2 * d + 1], hr = h_[2 * d], hi = h_[2 * d + 1];
        o[2 * d] = ar * hr - ai * hi + b_[2 * d];
        o[2 * d + 1] = ar * hi + ai * hr + b_[2 * d + 1];
    }
}

static void NAME(scan_parts)(const REAL *a, const REAL *b, const REAL *h0, REAL *out, const int64_t *sizes, int parts) {
    const int64_t B = sizes[0], T = sizes[1], D = sizes[2], reverse = sizes[7], threads = sizes[8];
    const int64_t blocks = (D + SCAN_BLOCK - 1) / SCAN_BLOCK;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && B * blocks > 1)
    for (int64_t task = 0; task < B * blocks; task++) {
        const int64_t row = task / blocks, d = task % blocks * SCAN_BLOCK;
        const int64_t width = D - d < SCAN_BLOCK ? D - d : SCAN_BLOCK;
        const REAL *h = h0 + (row * D + d) * parts;
        for (int64_t i = 0; i < T; i++) {
            const int64_t t = reverse ? T - 1 - i : i;
            const REAL *a_t = a + (row * sizes[3] + t * sizes[4] + d) * parts;
            const REAL *b_t = b + (row * sizes[5] + t * sizes[6] + d) * parts;
            REAL *out_t = out + ((row * T + t) * D + d) * parts;
            if (parts == 1) NAME(scan_rows)(a_t, b_t, h, out_t, width);
            else NAME(scan_rows_complex)(a_t, b_t, h, out_t, width);
            h = out_t;
        }
    }
}

void NAME(scan)(const REAL *a, const REAL *b, const REAL *h0, REAL *out, const int64_t *sizes) {
    NAME(scan_parts)(a, b, h0, out, sizes, 1);
}

void NAME(scan_complex)(const REAL *a, const REAL *b, const REAL *h0, REAL *out, const int64_t *sizes) {
    NAME(scan_parts)(a, b, h0, out, sizes, 2);
}
