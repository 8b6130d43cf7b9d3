/* Weights of a GGUF file, laid out for dot products of 16 rows at a time.

   A matrix (rows, columns) is cut into tiles of 16 rows, a tile into blocks of 32 columns. A block is one record:
     16 scales, float16; 16 minima, float16 (affine formats only);
     codes, unsigned, 4 columns of 16 rows side by side: 8 groups of 64 bytes (8 bits); or 4 of 64 bytes, whose low halves
     are groups 0 to 3 and high halves groups 4 to 7 (4 and 5 bits), and the fifth bits, 8 times 64 (5 bits).
   A weight is scale * (code - 2^(bits-1)), or scale * code + minimum where the format is affine. */

enum { ROWS = 16, BLOCK = 32, SUPER = 256 };
enum { F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8, Q4_K = 12, Q5_K = 13, Q6_K = 14, BF16 = 30 };

static inline float from_half(uint16_t half) {
#ifdef __F16C__
    return _cvtsh_ss(half);
#else
    uint32_t sign = (uint32_t)(half >> 15) << 31, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent == 0) {
        float small = (float)fraction * 0x1p-24f;
        return sign ? -small : small;
    }
    uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
    float value;
    memcpy(&value, &bits, 4);
    return value;
#endif
}

static inline uint16_t to_half(float value) {
#ifdef __F16C__
    return _cvtss_sh(value, 0);
#else
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    float size = fabsf(value);
    if (!(size < 65520.0f)) return sign | (size != size ? 0x7e00 : 0x7c00);
    if (size < 0x1p-14f) return sign | (uint16_t)lrintf(size * 0x1p24f);
    bits &= 0x7fffffff;
    bits += 0xfff + (bits >> 13 & 1); /* to the nearest, ties to even */
    return sign | (uint16_t)((bits >> 13) - (112u << 10));
#endif
}

static inline uint16_t half_at(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }

/* 32 codes with a scale and a minimum. */
typedef struct {
    uint8_t code[BLOCK];
    uint16_t scale, minimum;
} Block;

typedef struct {
    int bits, affine, columns, bytes; /* `columns` weights take `bytes` bytes of the file */
} Format;

/* How a tensor of the file is kept; bits 0: not at all. Types without blocks of 32, or with too many bits, become 8 bits. */
static Format format_of(int type) {
    switch (type) {
        case F32: return (Format){8, 0, BLOCK, 128};
        case F16:
        case BF16: return (Format){8, 0, BLOCK, 64};
        case Q4_0: return (Format){4, 0, BLOCK, 18};
        case Q4_1: return (Format){4, 1, BLOCK, 20};
        case Q5_0: return (Format){5, 0, BLOCK, 22};
        case Q5_1: return (Format){5, 1, BLOCK, 24};
        case Q8_0: return (Format){8, 0, BLOCK, 34};
        case Q4_K: return (Format){4, 1, SUPER, 144};
        case Q5_K: return (Format){5, 1, SUPER, 176};
        case Q6_K: return (Format){8, 0, SUPER, 210};
        default: return (Format){0, 0, 0, 0};
    }
}

static int record_bytes(int bits, int affine) { return (affine ? 64 : 32) + (bits == 8 ? 512 : bits == 5 ? 320 : 256); }

static void round_to_8_bits(const float *weight, Block *out) {
    float most = 0.0f;
    for (int i = 0; i < BLOCK; i++) most = fmaxf(most, fabsf(weight[i]));
    out->scale = to_half(most / 127.0f);
    float scale = from_half(out->scale), inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    for (int i = 0; i < BLOCK; i++) {
        long code = lrintf(weight[i] * inverse);
        out->code[i] = (uint8_t)((code < -127 ? -127 : code > 127 ? 127 : code) + 128);
    }
}

/* Nibbles of q4_0, q4_1, q5_0, q5_1: 16 bytes, column i in the low half of byte i, column i + 16 in the high half. */
static void nibbles(const uint8_t *half, const uint8_t *fifth, Block *out) {
    uint32_t high = fifth ? (uint32_t)fifth[0] | fifth[1] << 8 | fifth[2] << 16 | (uint32_t)fifth[3] << 24 : 0;
    for (int i = 0; i < 16; i++) {
        out->code[i] = (half[i] & 15) | (high >> i & 1) << 4;
        out->code[i + 16] = (half[i] >> 4) | (high >> (i + 16) & 1) << 4;
    }
}

/* Six bits of scale and of minimum for block b of a super-block of q4_K or q5_K. */
static void scale_of_k(const uint8_t *packed, int b, int *scale, int *minimum) {
    if (b < 4) {
        *scale = packed[b] & 63;
        *minimum = packed[b + 4] & 63;
    } else {
        *scale = (packed[b + 4] & 15) | (packed[b - 4] >> 6) << 4;
        *minimum = (packed[b + 4] >> 4) | (packed[b] >> 6) << 4;
    }
}

static void super_k(const uint8_t *at, int type, Block *out) {
    float scale = from_half(half_at(at)), minimum = from_half(half_at(at + 2));
    const uint8_t *high = at + 16, *low = at + (type == Q5_K ? 48 : 16);
    for (int b = 0; b < 8; b++) {
        int s, m, shift = b & 1 ? 4 : 0;
        scale_of_k(at + 4, b, &s, &m);
        out[b].scale = to_half(scale * (float)s);
        out[b].minimum = to_half(-minimum * (float)m);
        for (int i = 0; i < BLOCK; i++) {
            out[b].code[i] = low[32 * (b / 2) + i] >> shift & 15;
            if (type == Q5_K) out[b].code[i] |= (high[i] >> b & 1) << 4;
        }
    }
}

static void super_6(const uint8_t *at, Block *out) {
    const uint8_t *low = at, *high = at + 128;
    const int8_t *scale = (const int8_t *)(at + 192);
    float whole = from_half(half_at(at + 208)), weight[BLOCK];
    for (int b = 0; b < 8; b++) {
        int part = b / 4, quarter = b % 4; /* 128 columns are four runs of 32 */
        for (int i = 0; i < BLOCK; i++) {
            int code = low[64 * part + 32 * (quarter & 1) + i] >> (quarter & 2 ? 4 : 0) & 15;
            code |= (high[32 * part + i] >> 2 * quarter & 3) << 4;
            weight[i] = whole * (float)scale[8 * part + 2 * quarter + i / 16] * (float)(code - 32);
        }
        round_to_8_bits(weight, out + b);
    }
}

static void plain(const uint8_t *at, int type, Block *out) {
    float weight[BLOCK];
    for (int i = 0; i < BLOCK; i++) {
        if (type == F32) {
            memcpy(&weight[i], at + 4 * i, 4);
        } else if (type == F16) {
            weight[i] = from_half(half_at(at + 2 * i));
        } else {
            uint32_t bits = (uint32_t)half_at(at + 2 * i) << 16;
            memcpy(&weight[i], &bits, 4);
        }
    }
    round_to_8_bits(weight, out);
}

/* The blocks that begin at `at`: one, or the eight of a super-block. */
static void unpack(const uint8_t *at, int type, Block *out) {
    switch (type) {
        case Q4_0:
        case Q4_1:
        case Q5_0:
        case Q5_1: {
            int lead = type == Q4_1 || type == Q5_1 ? 4 : 2, five = type == Q5_0 || type == Q5_1;
            out->scale = half_at(at);
            out->minimum = lead == 4 ? half_at(at + 2) : 0;
            nibbles(at + lead + (five ? 4 : 0), five ? at + lead : 0, out);
            return;
        }
        case Q8_0:
            out->scale = half_at(at);
            for (int i = 0; i < BLOCK; i++) {
                int code = (int8_t)at[2 + i];
                out->code[i] = (uint8_t)((code < -127 ? -127 : code) + 128);
            }
            return;
        case Q4_K:
        case Q5_K: super_k(at, type, out); return;
        case Q6_K: super_6(at, out); return;
        default: plain(at, type, out);
    }
}

static void put(const Block *block, Format format, int lane, uint8_t *record) {
    memcpy(record + 2 * lane, &block->scale, 2);
    if (format.affine) memcpy(record + 32 + 2 * lane, &block->minimum, 2);
    uint8_t *codes = record + (format.affine ? 64 : 32);
    for (int i = 0; i < BLOCK; i++) {
        int group = i / 4, at = 4 * lane + i % 4;
        if (format.bits == 8) {
            codes[64 * group + at] = block->code[i];
            continue;
        }
        codes[64 * (group & 3) + at] |= (block->code[i] & 15) << (group < 4 ? 0 : 4);
        if (format.bits == 5) codes[256 + 8 * group + at / 8] |= (block->code[i] >> 4) << at % 8;
    }
}

/* Lay out a tensor of the file. `out` holds zeros and has room for whole tiles. Returns 0, or 1 for a type that is not known. */
int decoder_pack(int type, const uint8_t *source, int64_t rows, int64_t columns, uint8_t *out) {
    Format format = format_of(type);
    if (!format.bits || columns % format.columns) return 1;
    int64_t blocks = columns / BLOCK, row_bytes = columns / format.columns * format.bytes;
    int together = format.columns / BLOCK, record = record_bytes(format.bits, format.affine);
    Block block[SUPER / BLOCK];
    for (int64_t row = 0; row < rows; row++) {
        uint8_t *tile = out + row / ROWS * blocks * record;
        const uint8_t *at = source + row * row_bytes;
        for (int64_t b = 0; b < blocks; b += together, at += format.bytes) {
            unpack(at, type, block);
            for (int i = 0; i < together; i++) put(block + i, format, (int)(row % ROWS), tile + (b + i) * record);
        }
    }
    return 0;
}

/* Bytes `decoder_pack` fills; told: bits, affine, bytes it reads. 0 for a type that is not known. */
int64_t decoder_packed_bytes(int type, int64_t rows, int64_t columns, int64_t *told) {
    Format format = format_of(type);
    if (!format.bits || columns % format.columns) return 0;
    told[0] = format.bits;
    told[1] = format.affine;
    told[2] = rows * (columns / format.columns) * format.bytes;
    return (rows + ROWS - 1) / ROWS * (columns / BLOCK) * record_bytes(format.bits, format.affine);
}

/* One row of a tensor of the file as numbers. */
static void read_row(int type, const uint8_t *source, int64_t row, int columns, float *out) {
    Format format = format_of(type);
    const uint8_t *at = source + row * (columns / format.columns) * format.bytes;
    Block block[SUPER / BLOCK];
    for (int column = 0; column < columns; column += format.columns, at += format.bytes) {
        unpack(at, type, block);
        for (int i = 0; i < format.columns; i++) {
            const Block *from = block + i / BLOCK;
            float scale = from_half(from->scale), code = (float)from->code[i % BLOCK];
            out[column + i] = format.affine ? scale * code + from_half(from->minimum)
                                            : scale * (code - (float)(1 << (format.bits - 1)));
        }
    }
}
