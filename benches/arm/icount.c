/* A TCG plugin for qemu-aarch64 (user mode): how many AArch64 instructions of which class were executed.
 *
 * The emulator translates a program block by block. At translation every instruction of a block is decoded once and the
 * block gets a row of sums; at execution qemu itself adds one to the row's counter, without a call. What was executed so
 * far is then the sum over all rows of counter times sums, and it is written when the program asks for it:
 *
 *     lseek(fd, MARK + n, SEEK_SET)   ->   a line "n total=... load=... ..." in the file of the argument out=FILE
 *
 * That call is one that safe Rust and Python can make on any open file (/dev/null here). The difference of two
 * lines is what ran between them; start-up, loading and the measuring itself are outside.
 *
 * Counters are not atomic: count programs of one thread. Debian ships no qemu-plugin.h: the few prototypes
 * below follow the documented interface, version 1 (qemu 4.2 to 8.1).
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef struct {
    const char *target_name;
    struct { int min, cur; } version;
    bool system_emulation;
    union { struct { int smp_vcpus, max_vcpus; } system; };
} plugin_info;
enum { INLINE_ADD_U64 = 0 };
typedef void on_translate(plugin_id, struct qemu_plugin_tb *);
typedef void on_syscall(plugin_id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                        uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_translate *);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int op, void *counter, uint64_t step);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_syscall *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

/* Every instruction is in one class; the amounts after CLASSES are sums over some of them. */
enum {
    LOAD,    /* to general registers */
    STORE,   /* from general registers */
    VLOAD,   /* to SIMD registers */
    VSTORE,  /* from SIMD registers */
    DOT,     /* sdot, udot, usdot, sudot */
    MMLA,    /* smmla, ummla, usmmla */
    WMUL,    /* widening multiplies, with or without accumulation: smull, smlal, sqdmull ... */
    IMUL,    /* other SIMD integer multiplies: mul, mla, sqrdmulh ... */
    FMUL,    /* SIMD and scalar floating-point multiplies and fused ones */
    SHIFT,   /* SIMD shifts, narrowing, pairwise and across-lane sums: what has one pipe of two on Cortex-A76 */
    CONVERT, /* between integers and floating point, rounding to integral */
    SIMD,    /* all other SIMD and floating point: add, min, max, permute, moves */
    BRANCH,  /* and system instructions */
    GPMUL,   /* general multiplies and divisions */
    GP,      /* other general instructions */
    SVE,     /* SVE and SME; none is expected */
    CLASSES,
    /* What loads and stores move, in units of which an instruction takes at least one. */
    LOAD8 = CLASSES, /* all loads, in units of 8 bytes */
    LOAD16,          /* the same in units of 16 bytes */
    STORE8,          /* all stores, in units of 8 bytes */
    STORE16,
    VSTORE8, /* those from SIMD registers */
    WIDE,    /* instructions of VLOAD that load more than 8 bytes */
    WIDE8,   /* what they load, in units of 8 bytes */
    HALF,    /* of DOT, IMUL, FMUL, SHIFT, CONVERT and SIMD: those on 64 bits or less */
    V0,      /* what only the first SIMD pipe of a Cortex-A76 takes: WMUL; IMUL and CONVERT, twice where they are on 128 bits */
    AMOUNTS
};
static const char *const names[AMOUNTS] = {
    "load", "store", "vload", "vstore", "dot", "mmla", "wmul", "imul", "fmul", "shift", "convert", "simd", "branch",
    "gpmul", "gp", "sve", "load8", "load16", "store8", "store16", "vstore8", "wide", "wide8", "half", "v0",
};
static unsigned field(uint32_t word, unsigned high, unsigned low)
{
    return (word >> low) & ((1u << (high - low + 1)) - 1);
}

/* Loads and stores: op0 = x1x0. Prefetches count as loads of no bytes. */
static int memory(uint32_t w, unsigned *bytes)
{
    bool simd = field(w, 26, 26), load = field(w, 22, 22);
    unsigned size = field(w, 31, 30);
    *bytes = 0;
    switch (field(w, 29, 28)) {
    case 0:
        if (!simd) { /* exclusive, acquire, release */
            *bytes = 1u << size;
            break;
        }
        if (field(w, 24, 24) == 0) { /* whole structures */
            static const unsigned char registers[16] = { 4, 0, 4, 0, 3, 0, 3, 1, 2, 0, 2 };
            *bytes = registers[field(w, 15, 12)] * (field(w, 30, 30) ? 16 : 8);
        } else { /* one lane, or one value to all lanes */
            unsigned scale = field(w, 15, 14), n = (field(w, 13, 13) << 1 | field(w, 21, 21)) + 1;
            unsigned element = scale == 3 ? 1u << field(w, 11, 10) : scale == 2 ? (field(w, 10, 10) ? 8 : 4) : 1u << scale;
            *bytes = n * element;
        }
        break;
    case 1:
        if (field(w, 24, 24) == 0) { /* literal */
            load = true;
            *bytes = simd ? 4u << size : size == 3 ? 0 : size == 1 ? 8 : 4;
        } else { /* ldapur, stlur */
            load = field(w, 23, 22) != 0;
            *bytes = 1u << size;
        }
        break;
    case 2: /* pairs */
        *bytes = 2 * (simd ? 4u << size : size == 2 ? 8 : 4);
        break;
    default: /* one register */
        if (simd) {
            *bytes = 1u << (size | field(w, 23, 23) << 2);
        } else {
            bool atomic = field(w, 24, 24) == 0 && field(w, 21, 21) && field(w, 11, 10) == 0;
            load = field(w, 23, 22) != 0 || atomic;
            *bytes = size == 3 && field(w, 23, 22) == 2 ? 0 : 1u << size;
        }
    }
    return simd ? (load ? VLOAD : VSTORE) : (load ? LOAD : STORE);
}

/* Vectors, "three registers" and "two registers": bits 28-24 = 01110. */
static int vectors(uint32_t w)
{
    unsigned size = field(w, 23, 22);
    if (field(w, 21, 21) == 0) {
        if (field(w, 15, 15) && field(w, 10, 10)) {
            unsigned opcode = field(w, 14, 11);
            if (size == 2 && (opcode == 2 || opcode == 3)) return DOT;
            if (size == 2 && (opcode == 4 || opcode == 5)) return MMLA;
            if (opcode <= 1) return IMUL; /* sqrdmlah, sqrdmlsh */
            return FMUL;                  /* complex numbers, bfloat16 */
        }
        bool half_precision = field(w, 22, 21) == 2 && field(w, 15, 14) == 0 && field(w, 10, 10);
        if (half_precision) return field(w, 13, 11) == 1 || field(w, 13, 11) == 3 ? FMUL : SIMD;
        return SIMD; /* permutes, copies, tables */
    }
    if (field(w, 11, 10) == 0) return field(w, 15, 12) >= 8 ? WMUL : SIMD;
    if (field(w, 10, 10)) {
        unsigned opcode = field(w, 15, 11);
        if (opcode == 0x12 || opcode == 0x13 || opcode == 0x16) return IMUL;
        if (opcode >= 8 && opcode <= 0xb) return SHIFT;
        if (opcode == 0x19 || opcode == 0x1b) return FMUL;
        return SIMD;
    }
    unsigned opcode = field(w, 16, 12);
    if (field(w, 20, 17) == 8) return SHIFT; /* across lanes */
    if (field(w, 20, 17) != 0) return SIMD;
    if (opcode == 0x02 || opcode == 0x06) return SHIFT;                   /* saddlp, sadalp */
    if (opcode == 0x12 || opcode == 0x13 || opcode == 0x14) return SHIFT; /* xtn, sqxtun, shll, sqxtn */
    if ((opcode == 0x1c || opcode == 0x1d) && size >= 2) return SIMD; /* estimates of reciprocals */
    return opcode >= 0x16 && opcode != 0x1f ? CONVERT : SIMD;
}

/* Vectors by an element, and shifts by an immediate: bits 28-24 = 01111. */
static int by_element(uint32_t w)
{
    unsigned opcode = field(w, 15, 12), u = field(w, 29, 29);
    if (field(w, 10, 10)) {
        if (field(w, 22, 19) == 0 && field(w, 23, 23) == 0) return SIMD; /* movi and friends */
        return opcode >= 0xe ? CONVERT : SHIFT;
    }
    switch (opcode) {
    case 0x2: case 0x6: case 0xa: case 0x3: case 0x7: case 0xb: return WMUL;
    case 0x0: case 0x4: return u ? IMUL : FMUL;
    case 0x8: return u ? FMUL : IMUL;
    case 0xc: case 0xd: return IMUL;
    case 0xe: return DOT;
    case 0xf: return u ? IMUL : DOT;
    default: return FMUL;
    }
}

/* Scalars in SIMD registers: bits 28-24 = 11110 or 11111 and bit 31 = 0, or with bit 31 = 1 conversions. */
static int scalars(uint32_t w)
{
    if (field(w, 30, 30)) return field(w, 24, 24) ? by_element(w) : vectors(w);
    if (field(w, 24, 24)) return FMUL; /* fmadd */
    if (field(w, 21, 21) == 0) return CONVERT;
    if (field(w, 11, 10) == 2) { unsigned opcode = field(w, 15, 12); return opcode == 0 || opcode == 8 ? FMUL : SIMD; }
    if (field(w, 15, 10) == 0) return field(w, 18, 17) == 3 ? SIMD : CONVERT; /* fmov, or to and from integers */
    if (field(w, 14, 10) == 0x10 && field(w, 20, 15) >= 4) return CONVERT;    /* frint, fcvt */
    return SIMD;
}

static int class_of(uint32_t w, unsigned *bytes)
{
    unsigned op0 = field(w, 28, 25);
    *bytes = 0;
    if ((op0 & 5) == 4) return memory(w, bytes);
    if ((op0 & 7) == 7) {
        if (field(w, 28, 28)) return scalars(w);
        return field(w, 24, 24) ? by_element(w) : vectors(w);
    }
    if (op0 == 0 || op0 == 2) return SVE;
    if ((op0 & 0xe) == 0xa) return BRANCH;
    if (field(w, 28, 24) == 0x1b) return GPMUL;
    if (field(w, 30, 21) == 0xd6 && field(w, 15, 11) == 1) return GPMUL; /* udiv, sdiv */
    return GP;
}

#ifndef CHECK_CLASSES
static const uint64_t MARK = UINT64_C(0x5A5A0000);
static const int64_t LSEEK = 62; /* of AArch64 Linux */

struct block {
    struct block *next;
    uint64_t executed;
    uint32_t sums[AMOUNTS];
};
static struct block *blocks;
static FILE *out;

/* Adds one instruction to the sums of its block. */
static void add(uint32_t *sums, uint32_t word, int class, unsigned bytes)
{
    unsigned units8 = bytes > 8 ? (bytes + 7) / 8 : 1, units16 = bytes > 16 ? (bytes + 15) / 16 : 1;
    bool half = field(word, 28, 28) || !field(word, 30, 30); /* of SIMD arithmetic: a scalar, or 64 bits */
    sums[class]++;
    switch (class) {
    case VLOAD:
        sums[WIDE] += bytes > 8;
        sums[WIDE8] += bytes > 8 ? units8 : 0;
        /* fall through */
    case LOAD:
        sums[LOAD8] += units8;
        sums[LOAD16] += units16;
        break;
    case VSTORE:
        sums[VSTORE8] += units8;
        /* fall through */
    case STORE:
        sums[STORE8] += units8;
        sums[STORE16] += units16;
        break;
    case WMUL:
        sums[V0]++;
        break;
    case IMUL:
    case CONVERT:
        sums[V0] += half ? 1 : 2;
        sums[HALF] += half;
        break;
    case DOT:
    case FMUL:
    case SHIFT:
    case SIMD:
        sums[HALF] += half;
        break;
    default:
        break;
    }
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
    (void)id;
    struct block *block = calloc(1, sizeof *block);
    if (!block) abort();
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        uint32_t word;
        unsigned bytes;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)), sizeof word);
        int class = class_of(word, &bytes);
        add(block->sums, word, class, bytes);
    }
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &block->executed, 1);
    /* Translation is under a lock of qemu's in user mode; readers come from the same thread. */
    block->next = blocks;
    blocks = block;
}

static void snapshot(uint64_t n)
{
    uint64_t sums[AMOUNTS] = { 0 }, total = 0;
    for (const struct block *block = blocks; block; block = block->next)
        for (int i = 0; block->executed && i < AMOUNTS; i++) sums[i] += block->executed * block->sums[i];
    for (int i = 0; i < CLASSES; i++) total += sums[i];
    fprintf(out, "%" PRIu64 " total=%" PRIu64, n, total);
    for (int i = 0; i < AMOUNTS; i++) fprintf(out, " %s=%" PRIu64, names[i], sums[i]);
    fputc('\n', out);
    fflush(out);
}

static void syscalled(plugin_id id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                      uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)vcpu, (void)a1, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == LSEEK && (a2 & ~UINT64_C(0xffff)) == MARK) snapshot(a2 & 0xffff);
}

EXPORT int qemu_plugin_install(plugin_id id, const plugin_info *info, int argc, char **argv)
{
    if (strcmp(info->target_name, "aarch64") != 0 || info->system_emulation) {
        fprintf(stderr, "icount: only for qemu-aarch64\n");
        return 1;
    }
    for (int i = 0; i < argc; i++)
        if (strncmp(argv[i], "out=", 4) == 0) out = fopen(argv[i] + 4, "w");
    if (!out) {
        fprintf(stderr, "icount: needs out=FILE\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, syscalled);
    return 0;
}

#else /* A program that compares lines "WORD CLASS BYTES INSTRUCTION" with what is decoded here. */
int main(void)
{
    char line[256], name[16], text[128];
    unsigned word, bytes, found, lines = 0, wrong = 0;
    while (fgets(line, sizeof line, stdin)) {
        if (line[0] == '#') continue;
        if (sscanf(line, "%x %15s %u %127[^\n]", &word, name, &bytes, text) != 4) {
            printf("not understood: %s", line);
            return 1;
        }
        const char *class = names[class_of(word, &found)];
        lines++;
        if (strcmp(class, name) == 0 && found == bytes) continue;
        printf("%s: %s %u, not %s %u\n", text, class, found, name, bytes);
        wrong++;
    }
    printf("%u instructions, %u wrong\n", lines, wrong);
    return wrong != 0 || lines == 0;
}
#endif
