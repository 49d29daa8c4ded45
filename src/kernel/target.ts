/** @file TargetInfo: what a device's processor is, as data, so that compile/ chooses tiles without importing a device. */

export interface TargetInfo {
  /** f32 lanes of one vector register; 1 means scalar. */
  readonly lanes: number;
  /** Vector registers a register tile may use. */
  readonly registers: number;
  readonly hasFma: boolean;
  /** Elements of A that take a register while a step of a tile is computed: none where they are operands of the multiply-add, one after the other, or all of them. */
  readonly elements: 'none' | 'one' | 'all';
  /** Whether words of two bf16 can be multiplied and summed in f32 by one instruction (AVX512-BF16). */
  readonly hasBf16Dot?: boolean;
  readonly threads: number;
  /** Bytes of first- and second-level data cache of one core. */
  readonly l1: number;
  readonly l2: number;
  /** Largest single buffer, bytes. */
  readonly maxBuffer: number;
  /** Which of `plans` (as text, the cost model's choice first) to take for a contraction. Autotuning sets it; without it, the first. */
  readonly choosePlan?: (contraction: string, plans: readonly string[]) => number;
}
