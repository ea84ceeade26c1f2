"""Worked examples of tensors: products, numbers over axes, picking by index, and who shares memory with whom."""

from experiments.fundamentals.worked_examples import Example

VECTORS = "x = torch.tensor([1.0, 2.0, 3.0]); y = torch.tensor([4.0, 5.0, 6.0])"
MATRIX = "x = torch.arange(6.0).view(2, 3)"
PRODUCTS = (
    Example("* is element by element", VECTORS, "x * y", "x * y"),
    Example("Vector by vector: a number", VECTORS, "x @ y", "sum(a * b for a, b in zip(x, y))"),
    Example("Matrix by vector: a number for each row",
            f"{MATRIX}; y = torch.tensor([1.0, 0.0, -1.0])", "x @ y", "np.array([row.dot(y) for row in x])"),
    Example("Vector by matrix: a number for each column",
            f"{MATRIX}; y = torch.tensor([1.0, 10.0])", "y @ x", "x.T.dot(y)"),
    Example("Matrix by matrix: (2, 3) @ (3, 2)", MATRIX, "x @ x.T", "np.dot(x, x.T)"),
    Example("Inner lengths must agree", MATRIX, "x @ x"),
    Example("and so must types", f"{MATRIX}; y = torch.arange(3)", "x @ y"),
    Example("A batch of matrices: each by its partner, (2, 2, 3) @ (2, 3, 1)",
            "x = torch.arange(12.0).view(2, 2, 3); y = torch.arange(6.0).view(2, 3, 1)",
            "x @ y", "np.stack([a.dot(b) for a, b in zip(x, y)])"),
    Example("The axes before the last two are broadcast: one matrix for the whole batch",
            "x = torch.arange(12.0).view(2, 2, 3); y = torch.ones(3, 1)",
            "x @ y", "np.stack([a.dot(y) for a in x])"),
    Example("einsum names the axes, and sums over those that are missing on the right",
            MATRIX, "torch.einsum('ij,kj->ik', x, x)", "np.dot(x, x.T)"),
    Example("A linear layer holds its weight as (outputs, inputs)",
            f"{MATRIX}; w = torch.tensor([[1.0, 0.0, -1.0]]); b = torch.tensor([0.5])",
            "F.linear(x, w, b)", "np.dot(x, w.T) + b"),
)  # fmt: skip

TABLE = "x = torch.tensor([[1.0, 2.0, 6.0], [3.0, 5.0, 4.0]])"
STATISTICS = (
    Example("The axis that is named disappears: 0 leaves the columns", TABLE, "x.sum(0)", "x.sum(0)"),
    Example("and 1 the rows", TABLE, "x.sum(1)", "x.sum(1)"),
    Example("keepdim leaves it with length 1, ready for broadcasting",
            TABLE, "x - x.mean(1, keepdim=True)", "x - x.mean(1, keepdims=True)"),
    Example("Several axes at once: a mean for each channel of (N, C, H, W)",
            "x = torch.arange(8.0).view(1, 2, 2, 2)", "x.mean((0, 2, 3))", "x.mean((0, 2, 3))"),
    Example("Whole numbers have no mean", "x = torch.tensor([1, 2])", "x.mean()"),
    Example("std divides by n - 1, where numpy divides by n", TABLE, "x.std()", "x.std(ddof=1)"),
    Example("with correction=0 both divide by n", TABLE, "x.std(correction=0)", "x.std()"),
    Example("The norm: the root of the sum of squares", TABLE, "torch.linalg.norm(x)", "np.sqrt((x**2).sum())"),
    Example("of each row", TABLE, "torch.linalg.vector_norm(x, dim=1)", "np.sqrt((x**2).sum(1))"),
    Example("The norms of order 1 and infinity: the sum, and the largest, of the magnitudes",
            "x = torch.tensor([3.0, -4.0])",
            "torch.linalg.norm(x, 1), torch.linalg.norm(x, torch.inf)", "abs(x).sum(), abs(x).max()"),
    Example("max over an axis gives values and places", TABLE, "tuple(x.max(1))", "x.max(1), x.argmax(1)"),
    Example("argmax without an axis counts through all elements, in reading order", TABLE, "x.argmax()", "x.argmax()"),
    Example("topk: the two largest of each row, and their places",
            TABLE, "tuple(x.topk(2))", "-np.sort(-x)[:, :2], np.argsort(-x)[:, :2]"),
    Example("Of an even number of elements, median takes the lower of the middle two; numpy's lies between",
            "x = torch.tensor([1.0, 2.0, 3.0, 10.0])", "x.median()", "np.sort(x)[(len(x) - 1) // 2]"),
    Example("Sums up to each place", TABLE, "x.cumsum(1)", "x.cumsum(1)"),
    Example("Accuracy: the mean of true and false as floats",
            f"{TABLE}; labels = torch.tensor([2, 0])",
            "(x.argmax(1) == labels).float().mean()", "(x.argmax(1) == labels).mean()"),
)  # fmt: skip

SIGNED = "x = torch.tensor([[-1.0, 2.0, 0.5], [3.0, -5.0, 1.0]])"
LABELS = "labels = torch.tensor([2, 0, 2])"
PICKING = (
    Example("where chooses element by element",
            SIGNED, "torch.where(x > 0, x, 0.1 * x)", "np.where(x > 0, x, 0.1 * x)"),
    Example("clamp cuts off at limits", SIGNED, "x.clamp(0, 2)", "x.clip(0, 2)"),
    Example("masked_fill writes one number: what a softmax must not see",
            "x = torch.zeros(2, 3); seen = torch.tensor([[1, 1, 0], [1, 1, 1]]) == 1",
            "x.masked_fill(~seen, -torch.inf).softmax(1)", "seen / seen.sum(1, keepdims=True)"),
    Example("gather takes, from each row, the columns that the index names: each label's number",
            f"{SIGNED}; labels = torch.tensor([1, 0])",
            "x.gather(1, labels[:, None])", "np.array([[row[k]] for row, k in zip(x, labels)])"),
    Example("as pairs of indices do", f"{SIGNED}; labels = torch.tensor([1, 0])",
            "x[torch.arange(2), labels]", "np.array([row[k] for row, k in zip(x, labels)])"),
    Example("scatter is the way back: it writes to those columns; ones make labels one-hot",
            LABELS, "torch.zeros(3, 4).scatter(1, labels[:, None], 1)", "np.eye(4)[labels]"),
    Example("as one_hot does, in whole numbers", LABELS, "F.one_hot(labels, 4)", "np.eye(4, dtype=int)[labels]"),
    Example("A label has to be one of the columns", LABELS, "torch.zeros(3, 2).scatter(1, labels[:, None], 1)"),
    Example("bincount: how often each label occurs", LABELS, "labels.bincount(minlength=4)",
            "np.array([(labels == k).sum() for k in range(4)])"),
    Example("index_add: a sum for each label",
            f"{LABELS}; x = torch.tensor([1.0, 10.0, 100.0])", "torch.zeros(3).index_add(0, labels, x)",
            "np.array([x[labels == k].sum() for k in range(3)])"),
)  # fmt: skip

THREE = "x = torch.tensor([1.0, 2.0, 3.0])"
MEMORY = (
    Example("Another name is no copy", THREE, "y = x; y[0] = 9; x", "y = x; y[0] = 9; x"),
    Example("clone is one", THREE, "y = x.clone(); y[0] = 9; x", "y = x.copy(); y[0] = 9; x"),
    Example("y + 1 is a new tensor: x stays", THREE, "y = x; y = y + 1; x", "y = x; y = y + 1; x"),
    Example("but += writes in place", THREE, "y = x; y += 1; x", "y = x; y += 1; x"),
    Example("as all methods do whose names end in _", THREE, "y = x.mul_(10); x", "x *= 10; x"),
    Example("from_numpy shares the array's memory",
            "a = np.zeros(3)", "t = torch.from_numpy(a); t[0] = 5; a", "t = a[:]; t[0] = 5; a"),
    Example("tensor copies it", "a = np.zeros(3)", "t = torch.tensor(a); t[0] = 5; a", "t = a.copy(); t[0] = 5; a"),
    Example("numpy() shares the tensor's", THREE, "a = x.numpy(); a[0] = 5; x", "a = x[:]; a[0] = 5; x"),
    Example("A tensor has no negative strides, so a reversed array has to be copied first",
            "a = np.arange(3)", "torch.from_numpy(a[::-1])"),
    Example("x[1:] begins one element, which is four bytes, after x",
            THREE, "x[1:].data_ptr() - x.data_ptr()", "x[1:].ctypes.data - x.ctypes.data"),
    Example("A slice keeps all of the memory alive: 4,000 bytes for one number; clone it to keep it alone",
            "x = torch.zeros(1000)", "y = x[:1]; y.untyped_storage().nbytes(), y.clone().untyped_storage().nbytes()",
            "x.nbytes, x[:1].nbytes"),
)  # fmt: skip
