/* One token through a whole language model of Mamba blocks in one call: at batch 1 the blocks of a small model take less time
   than a caller needs to ask for them one by one. */

/* in: embedding (V, D), last gain (D), head (V, D), then for each block what its layer's step takes after x: weights, past,
   h, gain of the block. out: logits (B, V), then past and h of each block. ids: B tokens.
   sizes: kind of the layers (1 Mamba, 2 Mamba-2), blocks, V, then the sizes of the layer's step. */
void NAME(language_step)(const REAL *const *in, REAL *const *out, const int64_t *ids, REAL epsilon, REAL shortest,
                         REAL longest, REAL gate_epsilon, const int64_t *sizes) {
    const int64_t kind = sizes[0], blocks = sizes[1], V = sizes[2], *layer = sizes + 3, B = layer[0], D = layer[1];
    const int64_t count = kind == 1 ? 14 : 13, threads = layer[kind == 1 ? 6 : 7];
    REAL *x = malloc((size_t)(2 * B * D) * sizeof(REAL)), *y = x + B * D;
    for (int64_t b = 0; b < B; b++) memcpy(x + b * D, in[0] + ids[b] * D, (size_t)D * sizeof(REAL));
    for (int64_t block = 0; block < blocks; block++) {
        const REAL *lent[15] = {x};
        memcpy(lent + 1, in + 3 + block * count, (size_t)count * sizeof(REAL *));
        REAL *made[] = {y, out[1 + 2 * block], out[2 + 2 * block]};
        if (kind == 1) NAME(mamba_step)(lent, made, epsilon, layer);
        else NAME(mamba2_step)(lent, made, epsilon, shortest, longest, gate_epsilon, layer);
        REAL *free_room = x;
        x = y;
        y = free_room;
    }
    NAME(rows_times)(in[2], NULL, NAME(block_input)(x, in[1], epsilon, y, B, D), D, out[0], B, V, D, threads);
    free(x < y ? x : y);
}
