/* One step of a whole Mamba or Mamba-2 layer in one call: at batch 1 the layer is a few matrix-vector products, and the
   cost of asking for twenty small operations one by one would be several times that of doing them. */

/* y_b = W x_b + bias: four rows of W at a time, each read once for all rows of the batch. bias may be NULL. */
static void NAME(rows_times)(const REAL *w, const REAL *bias, const REAL *x, int64_t x_batch, REAL *y, int64_t B,
                             int64_t rows, int64_t columns, int64_t threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t row = 0; row < rows; row += 4) {
        const int64_t count = rows - row < 4 ? rows - row : 4;
        for (int64_t b = 0; b < B; b++) {
            const REAL *x_b = x + b * x_batch;
            VEC sum[4] = {{0}};
            if (count == 4) {
                const REAL *w_r = w + row * columns;
                int64_t i = 0;
                for (; i + LANES <= columns; i += LANES) {
                    const VEC v = *(const NAME(loose) *)(x_b + i);
                    for (int r = 0; r < 4; r++) {
                        /* Rows are short: the processor's own prefetching would begin anew at each. */
                        __builtin_prefetch(w_r + (r + 8) * columns + i);
                        sum[r] += v * *(const NAME(loose) *)(w_r + r * columns + i);
                    }
                }
                if (i < columns)
                    for (int r = 0; r < 4; r++)
                        sum[r] += NAME(load)(x_b + i, columns - i) * NAME(load)(w_r + r * columns + i, columns - i);
            } else
                for (int64_t i = 0; i < columns; i += LANES)
                    for (int64_t r = 0; r < count; r++)
                        sum[r] += NAME(load)(x_b + i, columns - i) * NAME(load)(w + (row + r) * columns + i, columns - i);
            for (int64_t r = 0; r < count; r++) y[b * rows + row + r] = NAME(total)(sum[r]) + (bias ? bias[row + r] : 0);
        }
    }
}

/* The past of the next step: without its oldest input, with this one. */
static void NAME(shift_past)(const REAL *past, const REAL *x, int64_t x_batch, REAL *next, int64_t B, int64_t S, int64_t D) {
    if (S == 0) return;
    for (int64_t b = 0; b < B; b++) {
        memcpy(next + b * S * D, past + (b * S + 1) * D, (size_t)((S - 1) * D) * sizeof(REAL));
        memcpy(next + (b * S + S - 1) * D, x + b * x_batch, (size_t)D * sizeof(REAL));
    }
}

/* RMS norm of each row times a gain, for the layer inside a residual block; without a gain the rows as they are. */
static const REAL *NAME(block_input)(const REAL *x, const REAL *gain, REAL epsilon, REAL *room, int64_t B, int64_t D) {
    if (!gain) return x;
    for (int64_t b = 0; b < B; b++) {
        VEC squares = {0};
        for (int64_t i = 0; i < D; i += LANES) {
            const VEC v = NAME(load)(x + b * D + i, D - i);
            squares += v * v;
        }
        const REAL scale = 1 / (REAL)sqrt((double)(NAME(total)(squares) / D + epsilon));
        for (int64_t i = 0; i < D; i += LANES)
            NAME(store)(room + b * D + i, scale * NAME(load)(x + b * D + i, D - i) * NAME(load)(gain + i, D - i), D - i);
    }
    return room;
}

/* The same for many rows; sizes: rows, D, threads. */
void NAME(norm)(const REAL *x, const REAL *gain, REAL *out, REAL epsilon, const int64_t *sizes) {
    const int64_t rows = sizes[0], D = sizes[1], threads = sizes[2];
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && rows > 64)
    for (int64_t row = 0; row < rows; row++) NAME(block_input)(x + row * D, gain, epsilon, out + row * D, 1, D);
}

static void NAME(add)(REAL *y, const REAL *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) y[i] += x[i];
}

/* in: x (B, D), W_in, bias_in, conv weight (E, K), conv bias, W_x, W_dt (E, R), log rates (E, N), skip, step bias, W_out,
   bias_out, past (B, K-1, E), h (B, E, N), gain (D); the two large biases may be NULL. out: y (B, D), past, h.
   With a gain y = x + layer(norm(x)), without y = layer(x). sizes: B, D, E, N, K, R, threads. */
void NAME(mamba_step)(const REAL *const *in, REAL *const *out, REAL epsilon, const int64_t *sizes) {
    const int64_t B = sizes[0], D = sizes[1], E = sizes[2], N = sizes[3], K = sizes[4], R = sizes[5], threads = sizes[6];
    const int64_t P = R + 2 * N, states = (E * N + LANES - 1) / LANES * LANES;
    REAL *both = aligned_alloc(64, (size_t)((states + B * (5 * E + P + D)) * sizeof(REAL) + 63) / 64 * 64), *u = both + B * 2 * E;
    REAL *low = u + B * E, *dt = low + B * P, *y = dt + B * E, *room = y + B * E, *rates = room + B * D;
    const REAL *x = NAME(block_input)(in[0], in[14], epsilon, room, B, D);
    NAME(rows_times)(in[1], in[2], x, D, both, B, 2 * E, D, threads);
    const int64_t conv[] = {B, 1, E, K, 2 * E, 0, 1, 1};
    NAME(conv)(both, in[3], in[4], in[12], u, conv);
    NAME(shift_past)(in[12], both, 2 * E, out[1], B, K - 1, E);
    NAME(rows_times)(in[5], NULL, u, E, low, B, P, E, threads);
    NAME(rows_times)(in[6], NULL, low, P, dt, B, E, R, threads);
    for (int64_t i = 0; i < E * N; i += LANES)
        NAME(store)(rates + i, -NAME(exp2)(NAME(load)(in[7] + i, E * N - i) * (REAL)LOG2_E), E * N - i);
    const REAL *scan[] = {u, dt, low + R, low + R + N, both + E, rates, in[8], in[9]};
    const int64_t scan_sizes[] = {B, 1, E, N, 1, 1, 1, E, 0, E, 0, P, 0, P, 0, 2 * E, 0};
    for (int64_t b = 0; b < B; b++)
        for (int64_t d = 0; d < E; d += LANES)
            NAME(selective_short)(scan, in[13], y, out[2], b, d, E - d < LANES ? E - d : LANES, scan_sizes);
    NAME(rows_times)(in[10], in[11], y, E, out[0], B, D, E, threads);
    if (in[14]) NAME(add)(out[0], in[0], B * D);
    free(both);
}

/* norm(y SiLU(z)) over groups of `width` channels, in place. */
static void NAME(gated_norm)(REAL *y, const REAL *x, const REAL *skip, const REAL *z, const REAL *gain, REAL epsilon,
                             int64_t width, int64_t channels, int64_t head) {
    for (int64_t start = 0; start < channels; start += width) {
        VEC squares = {0};
        for (int64_t i = start; i < start + width; i += LANES) {
            const int64_t left = start + width - i;
            VEC direct = {0};
            for (int64_t l = 0; l < LANES && l < left; l++) direct[l] = skip[(i + l) / head];
            const VEC gate = NAME(load)(z + i, left);
            const VEC v = (NAME(load)(y + i, left) + direct * NAME(load)(x + i, left)) * gate * NAME(sigmoid)(gate);
            squares += v * v;
            NAME(store)(y + i, v, left);
        }
        const REAL scale = 1 / (REAL)sqrt((double)(NAME(total)(squares) / width + epsilon));
        for (int64_t i = start; i < start + width; i += LANES) {
            const int64_t left = start + width - i;
            NAME(store)(y + i, scale * NAME(load)(y + i, left) * NAME(load)(gain + i, left), left);
        }
    }
}

/* in: x (B, D), W_in, bias_in, conv weight (C, K), conv bias, log rates (H), skip (H), step bias (H), gain (E), W_out,
   bias_out, past (B, K-1, C), h (B, H, P, N), gain of the block (D) or NULL. out: y (B, D), past, h.
   sizes: B, D, E, H, G, N, K, threads. */
void NAME(mamba2_step)(const REAL *const *in, REAL *const *out, REAL epsilon, REAL shortest, REAL longest,
                       REAL gate_epsilon, const int64_t *sizes) {
    const int64_t B = sizes[0], D = sizes[1], E = sizes[2], H = sizes[3], G = sizes[4], N = sizes[5], K = sizes[6];
    const int64_t threads = sizes[7], C = E + 2 * G * N, W = E + C + H, P = E / H;
    REAL *both = malloc((size_t)(B * (W + C + E + 2 * H + D)) * sizeof(REAL)), *mixed = both + B * W, *y = mixed + B * C;
    REAL *step = y + B * E, *decay = step + B * H;
    const REAL *x = NAME(block_input)(in[0], in[13], epsilon, decay + B * H, B, D);
    NAME(rows_times)(in[1], in[2], x, D, both, B, W, D, threads);
    const int64_t conv[] = {B, 1, C, K, W, 0, 1, 1};
    NAME(conv)(both + E, in[3], in[4], in[11], mixed, conv);
    NAME(shift_past)(in[11], both + E, W, out[1], B, K - 1, C);
    const VEC low = NAME(splat)(shortest), high = NAME(splat)(longest);
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h += LANES) {
            VEC s = NAME(softplus)(NAME(load)(both + b * W + E + C + h, H - h) + NAME(load)(in[7] + h, H - h));
            s = NAME(choose)(s < low, low, s);
            s = NAME(choose)(s > high, high, s);
            const VEC rate = -NAME(exp2)(NAME(load)(in[5] + h, H - h) * (REAL)LOG2_E);
            NAME(store)(step + b * H + h, s, H - h);
            NAME(store)(decay + b * H + h, NAME(exp2)(s * rate * (REAL)LOG2_E), H - h);
        }
    const REAL *scan[] = {mixed, mixed + E, mixed + E + G * N, decay, step};
    const int64_t scan_sizes[] = {B, 1, H, P, N, H / G, H / G, 1, 0, 1, C, 0, P, C, 0, N, C, 0, N, E, 0, P, N, 1};
    for (int64_t task = 0; task < B * H; task++)
        NAME(ssd_short)(scan, in[12] + task * P * N, y, out[2] + task * P * N, task / H, task % H, scan_sizes);
    for (int64_t b = 0; b < B; b++)
        NAME(gated_norm)(y + b * E, mixed + b * C, in[6], both + b * W, in[8], gate_epsilon, E / G, E, P);
    NAME(rows_times)(in[9], in[10], y, E, out[0], B, D, E, threads);
    if (in[13]) NAME(add)(out[0], in[0], B * D);
    free(both);
}
