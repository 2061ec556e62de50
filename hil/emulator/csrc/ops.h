/* ops.h -- the decoded instructions: name, cycles, flags read and written.
 *
 * Cycles without wait states; taken branches add one, register lists one for each register.
 * Flags: 8 N, 4 Z, 2 C, 1 V. `FENCE` instructions need every flag to be true before them,
 * because they can fault, be interrupted or leave the line. FLAGGED ones have a twin NAME_Q
 * for the fast loop that leaves the flags alone, used where the next instructions
 * overwrite them unread.
 */
#ifndef OPS_H
#define OPS_H

enum { FLAG_N = 8, FLAG_Z = 4, FLAG_C = 2, FLAG_V = 1, FLAGS = 15, FLAGS_NZ = 12, FLAGS_NZC = 14, FENCE = 16 };

#define OPS_FLAGGED(X)                                                                      \
    X(LSL_IMM, 1, 0, FLAGS_NZC) X(LSR_IMM, 1, 0, FLAGS_NZC) X(ASR_IMM, 1, 0, FLAGS_NZC)     \
    X(ADD_REG, 1, 0, FLAGS) X(SUB_REG, 1, 0, FLAGS) X(ADD_IMM, 1, 0, FLAGS)                 \
    X(SUB_IMM, 1, 0, FLAGS) X(MOV_IMM, 1, 0, FLAGS_NZ) X(MOVS_REG, 1, 0, FLAGS_NZ)          \
    X(AND, 1, 0, FLAGS_NZ) X(EOR, 1, 0, FLAGS_NZ) X(ORR, 1, 0, FLAGS_NZ)                    \
    X(BIC, 1, 0, FLAGS_NZ) X(MVN, 1, 0, FLAGS_NZ) X(MUL, 1, 0, FLAGS_NZ)                    \
    X(ADC, 1, FLAG_C, FLAGS) X(SBC, 1, FLAG_C, FLAGS) X(RSB, 1, 0, FLAGS)

#define OPS_PLAIN(X)                                                                         \
    X(LSL_REG, 1, FLAG_C, FLAGS_NZ) X(LSR_REG, 1, FLAG_C, FLAGS_NZ)                          \
    X(ASR_REG, 1, FLAG_C, FLAGS_NZ) X(ROR_REG, 1, FLAG_C, FLAGS_NZ)                          \
    X(CMP_IMM, 1, 0, FLAGS) X(CMP_REG, 1, 0, FLAGS) X(CMN, 1, 0, FLAGS) X(TST, 1, 0, FLAGS_NZ) \
    X(ADD_HI, 1, 0, 0) X(MOV_HI, 1, 0, 0) X(MOV_SP, 1, 0, 0) X(ADD_TO_SP, 1, 0, 0)           \
    X(MOV_CONST, 1, 0, 0) X(ADD_CONST, 1, 0, 0) X(SP_ADD, 1, 0, 0)                           \
    X(SXTH, 1, 0, 0) X(SXTB, 1, 0, 0) X(UXTH, 1, 0, 0) X(UXTB, 1, 0, 0)                      \
    X(REV, 1, 0, 0) X(REV16, 1, 0, 0) X(REVSH, 1, 0, 0) X(NOP, 1, 0, 0)                      \
    X(LDR_LIT, 2, FENCE, 0) X(LDR_ABS, 2, FENCE, 0)                                          \
    X(LDR_IMM, 2, FENCE, 0) X(LDRH_IMM, 2, FENCE, 0) X(LDRB_IMM, 2, FENCE, 0)                \
    X(STR_IMM, 2, FENCE, 0) X(STRH_IMM, 2, FENCE, 0) X(STRB_IMM, 2, FENCE, 0)                \
    X(LDR_REG, 2, FENCE, 0) X(LDRH_REG, 2, FENCE, 0) X(LDRB_REG, 2, FENCE, 0)                \
    X(LDRSB_REG, 2, FENCE, 0) X(LDRSH_REG, 2, FENCE, 0)                                      \
    X(STR_REG, 2, FENCE, 0) X(STRH_REG, 2, FENCE, 0) X(STRB_REG, 2, FENCE, 0)                \
    X(LDM, 1, FENCE, 0) X(STM, 1, FENCE, 0) X(PUSH, 1, FENCE, 0) X(POP, 1, FENCE, 0)

/* These end a run: what follows is not counted with what precedes. */
#define OPS_BRANCH(X)                                                                        \
    X(POP_PC, 3, FENCE, 0) X(B, 2, FENCE, 0) X(BL, 3, FENCE, 0) X(BLX, 2, FENCE, 0)          \
    X(BX, 2, FENCE, 0) X(MOV_PC, 2, FENCE, 0) X(ADD_PC, 2, FENCE, 0)                         \
    X(BEQ, 1, FENCE, 0) X(BNE, 1, FENCE, 0) X(BCS, 1, FENCE, 0) X(BCC, 1, FENCE, 0)          \
    X(BMI, 1, FENCE, 0) X(BPL, 1, FENCE, 0) X(BVS, 1, FENCE, 0) X(BVC, 1, FENCE, 0)          \
    X(BHI, 1, FENCE, 0) X(BLS, 1, FENCE, 0) X(BGE, 1, FENCE, 0) X(BLT, 1, FENCE, 0)          \
    X(BGT, 1, FENCE, 0) X(BLE, 1, FENCE, 0)

/* Only the slow loop carries these out. */
#define OPS_RARE(X)                                                                          \
    X(B_SELF, 2, FENCE, 0) X(B_FAR, 1, FENCE, 0) X(BL_FAR, 3, FENCE, 0) X(CPS, 1, FENCE, 0)  \
    X(MRS, 3, FENCE, 0) X(MSR, 3, FENCE, 0) X(BARRIER, 3, FENCE, 0) X(WFI, 2, FENCE, 0)      \
    X(WFE, 2, FENCE, 0) X(SEV, 1, FENCE, 0) X(SVC, 0, FENCE, 0) X(BKPT, 0, FENCE, 0)         \
    X(UNDEFINED, 0, FENCE, 0)

/* Conditions of Bcc in the order of their codes, as a comparison of x with y makes them; s = x - y. */
#define CONDITIONS(X)                                                                        \
    X(BEQ, x == y) X(BNE, x != y) X(BCS, x >= y) X(BCC, x < y)                               \
    X(BMI, (int32_t)s < 0) X(BPL, (int32_t)s >= 0)                                           \
    X(BVS, (int32_t)v < 0) X(BVC, (int32_t)v >= 0) X(BHI, x > y) X(BLS, x <= y)              \
    X(BGE, (int32_t)x >= (int32_t)y) X(BLT, (int32_t)x < (int32_t)y)                         \
    X(BGT, (int32_t)x > (int32_t)y) X(BLE, (int32_t)x <= (int32_t)y)

#define OPS_ALL(X) OPS_FLAGGED(X) OPS_PLAIN(X) OPS_BRANCH(X) OPS_RARE(X)

#define OP_ENUM(name, cost, reads, writes) OP_##name,
enum op_kind { OP_UNDECODED, OPS_ALL(OP_ENUM) OP_KINDS };
#undef OP_ENUM

/* Places in the fast loop's table of handlers. A comparison and the conditional branch behind it
 * in the same line are carried out together. */
enum {
    HANDLER_QUIET = OP_KINDS, /* + kind */
    HANDLER_ENTER = 2 * OP_KINDS,
    HANDLER_CMP_IMM, /* + condition */
    HANDLER_CMP_REG = HANDLER_CMP_IMM + 14,
    HANDLER_SUB_IMM = HANDLER_CMP_REG + 14,
    HANDLERS = HANDLER_SUB_IMM + 14
};

#endif
