"""Task arithmetic: add what each fine-tune learnt to the base."""

from hf_soups.method import Each, Vector, Vectors, method


@method(title="Task arithmetic", paper="arXiv:2212.04089", linear=True)
def task_arithmetic(deltas: Vectors, weight: Each = 1.0, scale: float = 1.0) -> Vector:
    """Weighted sum of the task vectors.

    weight: of each task vector; a negative one makes the model forget that task.
    scale: the paper's lambda, one factor for the sum, tuned on held-out data; 0.3 is a common start
        for several tasks.

    Source: task arithmetic (Ilharco et al. 2023): theta_0 + lambda sum_i tau_i.
    """
    return scale * (weight * deltas).sum(0)
