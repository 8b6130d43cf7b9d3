/* Dot products of a tile's 16 rows with the codes of a few tokens: 8-bit activations, 32 to a scale.

   Integer sums are exact, and every row of every token adds its blocks in the same order with fused multiply-adds, so the
   three ways below agree to the bit, whatever tokens come together. */

/* Activations of one token: codes in [-127, 127]; for each block the scale, the sum of the codes, and scale * sum. */
typedef struct {
    const int8_t *code;
    const float *scale, *shift;
    const int32_t *sum;
} Codes;

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && !defined(PLAIN_DOTS)
#define WAY "avx512-vnni"
#define TOKENS 8 /* at a time */

static inline __attribute__((always_inline)) __m512i group_of(const uint8_t *codes, int bits, int group) {
    if (bits == 8) return _mm512_loadu_si512(codes + 64 * group);
    __m512i both = _mm512_loadu_si512(codes + 64 * (group & 3)), mask = _mm512_set1_epi8(15);
    __m512i code = _mm512_and_si512(group < 4 ? both : _mm512_srli_epi16(both, 4), mask);
    if (bits == 4) return code;
    uint64_t fifth;
    memcpy(&fifth, codes + 256 + 8 * group, 8);
    return _mm512_mask_add_epi8(code, fifth, code, _mm512_set1_epi8(16));
}

static inline __attribute__((always_inline)) void dots(
    const uint8_t *record, int bits, int affine, int blocks, const Codes *token, int tokens, float *out) {
    int bytes = record_bytes(bits, affine), offset = affine ? 64 : 32;
    __m512 total[TOKENS];
#pragma GCC unroll 8
    for (int t = 0; t < tokens; t++) total[t] = _mm512_setzero_ps();
    for (int b = 0; b < blocks; b++, record += bytes) {
        const uint8_t *codes = record + offset;
        _mm_prefetch((const char *)record + 4 * bytes, _MM_HINT_T0);
        __m512i sum[TOKENS];
#pragma GCC unroll 8
        for (int t = 0; t < tokens; t++) /* codes are 2^(bits-1) too large */
            sum[t] = affine ? _mm512_setzero_si512()
                            : _mm512_slli_epi32(_mm512_set1_epi32(-token[t].sum[b]), (unsigned)bits - 1);
#pragma GCC unroll 8
        for (int group = 0; group < 8; group++) {
            __m512i weight = group_of(codes, bits, group);
#pragma GCC unroll 8
            for (int t = 0; t < tokens; t++) {
                int32_t four;
                memcpy(&four, token[t].code + BLOCK * b + 4 * group, 4);
                sum[t] = _mm512_dpbusd_epi32(sum[t], weight, _mm512_set1_epi32(four));
            }
        }
        __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)record));
        __m512 minimum = affine ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(record + 32))) : scale;
#pragma GCC unroll 8
        for (int t = 0; t < tokens; t++) {
            __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(token[t].scale[b]));
            total[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t]), both, total[t]);
            if (affine) total[t] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(token[t].shift[b]), total[t]);
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < tokens; t++) _mm512_storeu_ps(out + ROWS * t, total[t]);
}

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__) && !defined(PLAIN_DOTS)
#define WAY "avx2"
#define TOKENS 4 /* at a time */

static inline __attribute__((always_inline)) __m256i group_of(const uint8_t *codes, int bits, int group, int half) {
    if (bits == 8) /* signed */
        return _mm256_xor_si256(
            _mm256_loadu_si256((const __m256i *)(codes + 64 * group + 32 * half)), _mm256_set1_epi8((char)128));
    __m256i both = _mm256_loadu_si256((const __m256i *)(codes + 64 * (group & 3) + 32 * half));
    __m256i code = _mm256_and_si256(group < 4 ? both : _mm256_srli_epi16(both, 4), _mm256_set1_epi8(15));
    if (bits == 4) return code;
    int32_t four;
    memcpy(&four, codes + 256 + 8 * group + 4 * half, 4);
    const __m256i byte = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i fifth = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(four), byte), bit);
    return _mm256_or_si256(code, _mm256_and_si256(_mm256_cmpeq_epi8(fifth, bit), _mm256_set1_epi8(16)));
}

/* Half a tile, 8 rows. Sixteen bits hold four products of 5-bit codes, and one of 8-bit codes. */
static inline __attribute__((always_inline)) void half_dots(
    const uint8_t *record, int bits, int affine, int blocks, const Codes *token, int tokens, float *out, int half) {
    int bytes = record_bytes(bits, affine), offset = affine ? 64 : 32;
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 total[TOKENS];
#pragma GCC unroll 4
    for (int t = 0; t < tokens; t++) total[t] = _mm256_setzero_ps();
    for (int b = 0; b < blocks; b++, record += bytes) {
        const uint8_t *codes = record + offset;
        __m256i sum[TOKENS], few[TOKENS];
#pragma GCC unroll 4
        for (int t = 0; t < tokens; t++)
            sum[t] = affine || bits == 8 ? _mm256_setzero_si256()
                                         : _mm256_slli_epi32(_mm256_set1_epi32(-token[t].sum[b]), bits - 1);
#pragma GCC unroll 8
        for (int group = 0; group < 8; group++) {
            __m256i weight = group_of(codes, bits, group, half);
#pragma GCC unroll 4
            for (int t = 0; t < tokens; t++) {
                int32_t four;
                memcpy(&four, token[t].code + BLOCK * b + 4 * group, 4);
                __m256i code = _mm256_set1_epi32(four);
                if (bits == 8) {
                    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(code), _mm256_sign_epi8(weight, code));
                    sum[t] = _mm256_add_epi32(sum[t], _mm256_madd_epi16(pairs, ones));
                } else {
                    __m256i pairs = _mm256_maddubs_epi16(weight, code);
                    few[t] = group % 4 ? _mm256_add_epi16(few[t], pairs) : pairs;
                    if (group % 4 == 3) sum[t] = _mm256_add_epi32(sum[t], _mm256_madd_epi16(few[t], ones));
                }
            }
        }
        __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(record + 16 * half)));
        __m256 minimum = affine ? _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(record + 32 + 16 * half))) : scale;
#pragma GCC unroll 4
        for (int t = 0; t < tokens; t++) {
            __m256 both = _mm256_mul_ps(scale, _mm256_set1_ps(token[t].scale[b]));
            total[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[t]), both, total[t]);
            if (affine) total[t] = _mm256_fmadd_ps(minimum, _mm256_set1_ps(token[t].shift[b]), total[t]);
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < tokens; t++) _mm256_storeu_ps(out + ROWS * t + 8 * half, total[t]);
}

static inline __attribute__((always_inline)) void dots(
    const uint8_t *record, int bits, int affine, int blocks, const Codes *token, int tokens, float *out) {
    half_dots(record, bits, affine, blocks, token, tokens, out, 0);
    half_dots(record, bits, affine, blocks, token, tokens, out, 1);
}

#else
#define WAY "plain"
#define TOKENS 1 /* at a time */

static inline void dots(
    const uint8_t *record, int bits, int affine, int blocks, const Codes *token, int tokens, float *out) {
    int bytes = record_bytes(bits, affine), offset = affine ? 64 : 32;
    for (int lane = 0; lane < ROWS * tokens; lane++) out[lane] = 0.0f;
    for (int b = 0; b < blocks; b++, record += bytes) {
        const uint8_t *codes = record + offset;
        int32_t sum[ROWS] = {0};
        for (int i = 0; i < BLOCK; i++) {
            int group = i / 4, code = token->code[BLOCK * b + i];
            for (int lane = 0; lane < ROWS; lane++) {
                int at = 4 * lane + i % 4, weight;
                if (bits == 8) {
                    weight = codes[64 * group + at];
                } else {
                    weight = codes[64 * (group & 3) + at] >> (group < 4 ? 0 : 4) & 15;
                    if (bits == 5) weight |= (codes[256 + 8 * group + at / 8] >> at % 8 & 1) << 4;
                }
                sum[lane] += (affine ? weight : weight - (1 << (bits - 1))) * code;
            }
        }
        for (int lane = 0; lane < ROWS; lane++) {
            float scale = from_half(half_at(record + 2 * lane)) * token->scale[b];
            out[lane] = fmaf((float)sum[lane], scale, out[lane]);
            if (affine) out[lane] = fmaf(from_half(half_at(record + 32 + 2 * lane)), token->shift[b], out[lane]);
        }
    }
}
#endif

typedef struct {
    const uint8_t *data;
    int32_t rows, columns, bits, affine;
} Matrix;

#define CASE(count) \
    case count: dots(record, bits, affine, blocks, token, count, out); break;

static inline __attribute__((always_inline)) void dots_of(
    const uint8_t *record, int bits, int affine, int blocks, const Codes *token, int tokens, float *out) {
    for (; tokens > 0; tokens -= TOKENS, token += TOKENS, out += ROWS * TOKENS) {
        switch (tokens < TOKENS ? tokens : TOKENS) {
            CASE(1)
#if TOKENS > 1
            CASE(2) CASE(3) CASE(4)
#endif
#if TOKENS > 4
            CASE(5) CASE(6) CASE(7) CASE(8)
#endif
        }
    }
}
#undef CASE

/* Rows 16 * tile to 16 * tile + 15 times every token: out (tokens, 16). */
static void tile_dots(const Matrix *matrix, int tile, const Codes *token, int tokens, float *out) {
    int blocks = matrix->columns / BLOCK;
    const uint8_t *record =
        matrix->data + (int64_t)tile * blocks * record_bytes(matrix->bits, matrix->affine);
    switch (matrix->bits * 2 + matrix->affine) {
        case 8: dots_of(record, 4, 0, blocks, token, tokens, out); break;
        case 9: dots_of(record, 4, 1, blocks, token, tokens, out); break;
        case 10: dots_of(record, 5, 0, blocks, token, tokens, out); break;
        case 11: dots_of(record, 5, 1, blocks, token, tokens, out); break;
        default: dots_of(record, 8, 0, blocks, token, tokens, out);
    }
}
