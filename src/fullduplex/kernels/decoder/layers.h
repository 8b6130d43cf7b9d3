/* What lies between the matrices: norm, rotation, attention, gate. Sixteen lanes at a time; sums end in a fixed tree. */

#pragma GCC diagnostic ignored "-Wpsabi" /* nothing here is called from elsewhere */
typedef float V16 __attribute__((vector_size(64), aligned(4), may_alias));

static inline V16 v16(const float *at) { return *(const V16 *)at; }

static inline V16 half16(const uint16_t *at) {
#if defined(__AVX512F__)
    return (V16)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)at));
#else
    float out[16];
#if defined(__AVX__) && defined(__F16C__)
    _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at)));
    _mm256_storeu_ps(out + 8, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(at + 8))));
#else
    for (int i = 0; i < 16; i++) out[i] = from_half(at[i]);
#endif
    return v16(out);
#endif
}

static inline float tree(V16 lanes) {
    float sum[16];
    memcpy(sum, &lanes, sizeof sum);
    for (int size = 8; size; size /= 2)
        for (int i = 0; i < size; i++) sum[i] += sum[i + size];
    return sum[0];
}

/* exp(x) within 2 units in the last place; below -87 it is exp(-87). */
static inline float exponential(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float whole = (x * 1.44269504088896341f + magic) - magic;
    float rest = x - whole * 0.693359375f;
    rest = rest + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * rest + 1.3981999507e-3f;
    p = p * rest + 8.3334519073e-3f;
    p = p * rest + 4.1665795894e-2f;
    p = p * rest + 1.6666665459e-1f;
    p = p * rest + 5.0000001201e-1f;
    p = p * rest * rest + rest + 1.0f;
    int32_t bits;
    memcpy(&bits, &p, 4);
    bits += (int32_t)whole * (1 << 23);
    memcpy(&p, &bits, 4);
    return p;
}

/* Root-mean-square norm (Zhang and Sennrich, arXiv 1910.07467). */
static void rms_norm(const float *x, const float *weight, int width, float epsilon, float *out) {
    double part[8] = {0};
    for (int i = 0; i < width; i += 8)
        for (int lane = 0; lane < 8; lane++) part[lane] += (double)x[i + lane] * x[i + lane];
    double sum = ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
    float scale = 1.0f / sqrtf((float)(sum / width) + epsilon);
    for (int i = 0; i < width; i++) out[i] = x[i] * scale * weight[i];
}

/* Codes of one token's activations: each block of 32 by its largest. */
static void quantise(const float *x, int width, int8_t *code, float *scale, float *shift, int32_t *sum) {
    for (int b = 0; b < width / BLOCK; b++, x += BLOCK, code += BLOCK) {
        int32_t most = 0, total = 0;
        for (int i = 0; i < BLOCK; i++) {
            int32_t bits;
            memcpy(&bits, x + i, 4);
            bits &= 0x7fffffff; /* magnitudes order like their bits */
            most = bits > most ? bits : most;
        }
        float largest;
        memcpy(&largest, &most, 4);
        float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
        for (int i = 0; i < BLOCK; i++) {
            float rounded = x[i] * inverse + 12582912.0f;
            int32_t bits;
            memcpy(&bits, &rounded, 4);
            int8_t value = (int8_t)bits; /* the low byte of 1.5 * 2^23 + n is n */
            code[i] = value;
            total += value;
        }
        scale[b] = largest / 127.0f;
        sum[b] = total;
        shift[b] = scale[b] * (float)total;
    }
}

/* Rotary position embedding (Su et al., arXiv 2104.09864), of pairs side by side or of two halves. */
static void rotate(float *head, const float *cosine, const float *sine, int width, int halves) {
    int pairs = width / 2;
    for (int i = 0; i < pairs; i++) {
        float *a = halves ? head + i : head + 2 * i, *b = halves ? head + i + pairs : head + 2 * i + 1;
        float x = *a, y = *b;
        *a = x * cosine[i] - y * sine[i];
        *b = x * sine[i] + y * cosine[i];
    }
}

/* One head of one token over `count` cells of the cache (cell c's row at c * stride), width 16 * lanes. */
static inline __attribute__((always_inline)) void attend_of(
    const float *query, const uint16_t *keys, const uint16_t *values, const int32_t *cells, int count, int64_t stride,
    int lanes, float *score, float *out) {
    V16 ask[16], sum[16];
    float scale = 1.0f / sqrtf((float)(16 * lanes)), most = -INFINITY, total = 0.0f;
    for (int i = 0; i < lanes; i++) ask[i] = v16(query + 16 * i) * scale;
    for (int c = 0; c < count; c++) {
        const uint16_t *key = keys + cells[c] * stride;
        V16 dot = ask[0] * half16(key);
        for (int i = 1; i < lanes; i++) dot += ask[i] * half16(key + 16 * i);
        score[c] = tree(dot);
        most = score[c] > most ? score[c] : most;
    }
    for (int c = 0; c < count; c++) score[c] = exponential(score[c] - most);
    for (int i = 0; i < lanes; i++) sum[i] = (V16){0};
    for (int c = 0; c < count; c++) {
        const uint16_t *value = values + cells[c] * stride;
        total += score[c];
        for (int i = 0; i < lanes; i++) sum[i] += score[c] * half16(value + 16 * i);
    }
    for (int i = 0; i < lanes; i++) {
        sum[i] = sum[i] / total;
        memcpy(out + 16 * i, &sum[i], sizeof sum[i]);
    }
}

static void attend(
    const float *query, const uint16_t *keys, const uint16_t *values, const int32_t *cells, int count, int64_t stride,
    int width, float *score, float *out) {
    if (width == 64)
        attend_of(query, keys, values, cells, count, stride, 4, score, out);
    else if (width == 128)
        attend_of(query, keys, values, cells, count, stride, 8, score, out);
    else
        attend_of(query, keys, values, cells, count, stride, width / 16, score, out);
}

/* SwiGLU (Shazeer, arXiv 2002.05202): silu(gate) * up. */
static inline float gated(float gate, float up) { return gate / (1.0f + exponential(-gate)) * up; }
