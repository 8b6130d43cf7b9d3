/* S_kl = sum_n v_kn / (alpha_l - mu_n beta_l) in complex numbers, and its gradient; see ../cauchy.py. Vectors are nodes: a table
   entry 1 / (alpha - mu beta) stays in registers while all sums take it. Real and imaginary parts are kept apart, and nodes
   are filled up to whole vectors with alpha = 1, beta = 0.

   sizes: X, K, N, L, threads. */

/* The two parts of `count` complex numbers, the rest of the rows filled with `rest` and 0. */
static void NAME(part)(const REAL *x, REAL *re, REAL *im, int64_t count, int64_t room, REAL rest) {
    for (int64_t i = 0; i < count; i++) re[i] = x[2 * i], im[i] = x[2 * i + 1];
    for (int64_t i = count; i < room; i++) re[i] = rest, im[i] = 0;
}

static inline __attribute__((always_inline)) void NAME(resolvent)(const REAL *nodes, int64_t room, int64_t l, REAL mr, REAL mi,
                                                                  VEC *hr, VEC *hi) {
    const VEC br = *(const NAME(loose) *)(nodes + 2 * room + l), bi = *(const NAME(loose) *)(nodes + 3 * room + l);
    const VEC dr = *(const NAME(loose) *)(nodes + l) - (mr * br - mi * bi);
    const VEC di = *(const NAME(loose) *)(nodes + room + l) - (mr * bi + mi * br);
    const VEC inverse = 1 / (dr * dr + di * di);
    *hr = dr * inverse;
    *hi = -di * inverse;
}

static inline __attribute__((always_inline)) void NAME(cauchy_rows)(const REAL *v, const REAL *mu, const REAL *nodes, REAL *out,
                                                                    int64_t K, int64_t N, int64_t L, int64_t room) {
    for (int64_t l = 0; l < L; l += LANES) {
        VEC sr[4] = {{0}}, si[4] = {{0}};
        for (int64_t n = 0; n < N; n++) {
            VEC hr, hi;
            NAME(resolvent)(nodes, room, l, mu[2 * n], mu[2 * n + 1], &hr, &hi);
#pragma GCC unroll 4
            for (int64_t k = 0; k < K; k++) {
                const REAL vr = v[2 * (k * N + n)], vi = v[2 * (k * N + n) + 1];
                sr[k] += vr * hr - vi * hi;
                si[k] += vr * hi + vi * hr;
            }
        }
        const int64_t count = L - l < LANES ? L - l : LANES;
        for (int64_t k = 0; k < K; k++)
            for (int64_t i = 0; i < count; i++)
                out[2 * (k * L + l + i)] = sr[k][i], out[2 * (k * L + l + i) + 1] = si[k][i];
    }
}

/* g: K pairs of rows, real and imaginary. dv: set, dmu: added to. */
static inline __attribute__((always_inline)) void NAME(cauchy_back)(const REAL *v, const REAL *mu, const REAL *nodes,
                                                                    const REAL *g, REAL *dv, REAL *dmu, int64_t K, int64_t N,
                                                                    int64_t room) {
    for (int64_t n = 0; n < N; n++) {
        VEC sr[4] = {{0}}, si[4] = {{0}}, mr = {0}, mi = {0};
        for (int64_t l = 0; l < room; l += LANES) {
            VEC hr, hi, tr = {0}, ti = {0};
            NAME(resolvent)(nodes, room, l, mu[2 * n], mu[2 * n + 1], &hr, &hi);
#pragma GCC unroll 4
            for (int64_t k = 0; k < K; k++) {
                const VEC gr = *(const NAME(loose) *)(g + 2 * k * room + l);
                const VEC gi = *(const NAME(loose) *)(g + (2 * k + 1) * room + l);
                const REAL vr = v[2 * (k * N + n)], vi = v[2 * (k * N + n) + 1];
                sr[k] += gr * hr + gi * hi; /* g conj(h) */
                si[k] += gi * hr - gr * hi;
                tr += vr * gr + vi * gi; /* conj(v) g */
                ti += vr * gi - vi * gr;
            }
            const VEC br = *(const NAME(loose) *)(nodes + 2 * room + l), bi = *(const NAME(loose) *)(nodes + 3 * room + l);
            const VEC wr = hr * hr - hi * hi, wi = 2 * hr * hi;
            const VEC qr = br * wr - bi * wi, qi = br * wi + bi * wr;
            mr += tr * qr + ti * qi; /* t conj(beta h^2) */
            mi += ti * qr - tr * qi;
        }
        for (int64_t k = 0; k < K; k++)
            dv[2 * (k * N + n)] = NAME(total)(sr[k]), dv[2 * (k * N + n) + 1] = NAME(total)(si[k]);
        dmu[2 * n] += NAME(total)(mr);
        dmu[2 * n + 1] += NAME(total)(mi);
    }
}

static REAL *NAME(cauchy_nodes)(const REAL *alpha, const REAL *beta, int64_t L, int64_t room) {
    REAL *nodes = malloc((size_t)(4 * room) * sizeof(REAL));
    NAME(part)(alpha, nodes, nodes + room, L, room, 1);
    NAME(part)(beta, nodes + 2 * room, nodes + 3 * room, L, room, 0);
    return nodes;
}

void NAME(cauchy_complex)(const REAL *v, const REAL *mu, const REAL *alpha, const REAL *beta, REAL *out, const int64_t *sizes) {
    const int64_t X = sizes[0], K = sizes[1], N = sizes[2], L = sizes[3], threads = sizes[4];
    const int64_t room = (L + LANES - 1) / LANES * LANES;
    REAL *nodes = NAME(cauchy_nodes)(alpha, beta, L, room);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && X > 1)
    for (int64_t x = 0; x < X; x++)
        for (int64_t k = 0; k < K; k += 4) {
            const REAL *v_k = v + 2 * (x * K + k) * N, *mu_x = mu + 2 * x * N;
            REAL *out_k = out + 2 * (x * K + k) * L;
            if (K - k >= 4) NAME(cauchy_rows)(v_k, mu_x, nodes, out_k, 4, N, L, room);
            else if (K - k == 3) NAME(cauchy_rows)(v_k, mu_x, nodes, out_k, 3, N, L, room);
            else if (K - k == 2) NAME(cauchy_rows)(v_k, mu_x, nodes, out_k, 2, N, L, room);
            else NAME(cauchy_rows)(v_k, mu_x, nodes, out_k, 1, N, L, room);
        }
    free(nodes);
}

void NAME(cauchy_backward_complex)(const REAL *v, const REAL *mu, const REAL *alpha, const REAL *beta, const REAL *g, REAL *dv,
                                   REAL *dmu, const int64_t *sizes) {
    const int64_t X = sizes[0], K = sizes[1], N = sizes[2], L = sizes[3], threads = sizes[4];
    const int64_t room = (L + LANES - 1) / LANES * LANES;
    REAL *nodes = NAME(cauchy_nodes)(alpha, beta, L, room);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && X > 1)
    for (int64_t x = 0; x < X; x++) {
        REAL *rows = malloc((size_t)(2 * K * room) * sizeof(REAL)), *dmu_x = dmu + 2 * x * N;
        const REAL *mu_x = mu + 2 * x * N;
        for (int64_t k = 0; k < K; k++)
            NAME(part)(g + 2 * (x * K + k) * L, rows + 2 * k * room, rows + (2 * k + 1) * room, L, room, 0);
        memset(dmu_x, 0, (size_t)(2 * N) * sizeof(REAL));
        for (int64_t k = 0; k < K; k += 4) {
            const REAL *v_k = v + 2 * (x * K + k) * N, *g_k = rows + 2 * k * room;
            REAL *dv_k = dv + 2 * (x * K + k) * N;
            if (K - k >= 4) NAME(cauchy_back)(v_k, mu_x, nodes, g_k, dv_k, dmu_x, 4, N, room);
            else if (K - k == 3) NAME(cauchy_back)(v_k, mu_x, nodes, g_k, dv_k, dmu_x, 3, N, room);
            else if (K - k == 2) NAME(cauchy_back)(v_k, mu_x, nodes, g_k, dv_k, dmu_x, 2, N, room);
            else NAME(cauchy_back)(v_k, mu_x, nodes, g_k, dv_k, dmu_x, 1, N, room);
        }
        free(rows);
    }
    free(nodes);
}
