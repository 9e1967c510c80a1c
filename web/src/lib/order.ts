// Answers come in any order; what is shown goes forward only.

/** Numbers the loads of one place of the page. */
export class Order {
  private begun = 0;
  private taken = 0;

  /** A load begins. When its answer is there, the result says whether no later load's was shown before. */
  begin(): () => boolean {
    const number = ++this.begun;
    return () => {
      if (number < this.taken) return false;
      this.taken = number;
      return true;
    };
  }

  /** What was begun until now is of no interest any more. */
  forget(): void {
    this.taken = ++this.begun;
  }
}
