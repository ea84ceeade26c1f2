"""Worked examples of autograd. The peer of each is the derivative by hand, with what was given as arrays."""

from experiments.fundamentals.worked_examples import Example

X = "x = torch.tensor(3.0, requires_grad=True)"
VECTOR = "x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)"
ZERO = "x = torch.tensor(0.0, requires_grad=True)"
WEIGHT = f"{X}; w = torch.tensor(5.0)"

LEAVES = (
    Example("backward computes dy/dx, and leaves it in x.grad", X, "y = x**2 + x; y.backward(); x.grad", "2 * x + 1"),
    Example("x was made by hand: a leaf. 2 x was computed, and is none",
            X, "x.is_leaf, (2 * x).is_leaf", "True, False"),
    Example("What is computed knows its function, a leaf has none",
            X, "(2 * x).grad_fn.name(), x.grad_fn is None", "'MulBackward0', True"),
    Example("Only leaves keep a gradient; others do when asked to",
            X, "y = 2 * x; y.retain_grad(); (y**2).backward(); y.grad", "2 * (2 * x)"),
    Example("Data need no gradient, and get none",
            WEIGHT, "(x * w).backward(); x.grad, w.grad is None", "w, True"),
    Example("Where nothing requires one, there is no graph", "x = torch.tensor(3.0)", "(x**2).backward()"),
    Example("Whole numbers cannot: a slope needs numbers in between", "", "torch.tensor(3, requires_grad=True)"),
    Example("The graph is that of the branch that was taken",
            X, "y = x**2 if x > 0 else -x; y.backward(); x.grad", "2 * x"),
)  # fmt: skip

ACCUMULATION = (
    Example("A variable that is used twice gets the sum of both gradients", X, "(x * x).backward(); x.grad", "x + x"),
    Example("as it does from two backward passes: gradients accumulate",
            X, "(x**2).backward(); (x**3).backward(); x.grad", "2 * x + 3 * x**2"),
    Example("so they are set to zero in between",
            X, "(x**2).backward(); x.grad.zero_(); (x**3).backward(); x.grad", "3 * x**2"),
    Example("or to None, as the zero_grad of an optimizer does",
            X, "(x**2).backward(); torch.optim.SGD([x], lr=0.1).zero_grad(); x.grad is None", "True"),
    Example("What it is good for: two halves of a batch have the gradient of the whole",
            f"{X}; a = torch.tensor([1.0, 2.0, 3.0, 4.0])",
            "((x * a[:2] - 1)**2).sum().backward(); ((x * a[2:] - 1)**2).sum().backward(); x.grad",
            "(2 * (x * a - 1) * a).sum()"),
)  # fmt: skip

CUTTING = (
    Example("detach makes a constant of a result: d(c x)/dx = c", X, "(x.detach() * x).backward(); x.grad", "x"),
    Example("It shares memory with x", VECTOR, "y = x.detach(); y[0] = 9; x", "x[0] = 9; x"),
    Example("Under no_grad nothing is recorded",
            X, "with torch.no_grad(): y = 2 * x; y.requires_grad, x.requires_grad", "False, True"),
    Example("A leaf must not change in place, for the graph would lose where it began", X, "x -= 0.1 * 6; x"),
    Example("An optimizer's step does so under no_grad",
            X, "with torch.no_grad(): x -= 0.1 * 6; x", "x - np.float32(0.6)"),
    Example("requires_grad_(False) freezes a parameter",
            f"{VECTOR}; w = torch.ones(3, requires_grad=True)",
            "w.requires_grad_(False); (x * w).sum().backward(); x.grad, w.grad is None", "np.ones(3), True"),
)  # fmt: skip

AGAIN = (
    Example("backward frees what the graph had saved", X, "y = x.exp(); y.backward(); y.backward()"),
    Example("With retain_graph it can pass again, and adds up",
            X, "y = x.exp(); y.backward(retain_graph=True); y.backward(); x.grad", "2 * np.exp(x)"),
    Example("grad returns gradients, and leaves x.grad alone",
            VECTOR, "torch.autograd.grad(x.prod(), x)[0], x.grad is None", "x.prod() / x, True"),
    Example("The slope of the slope: create_graph records the backward pass too",
            X, "(slope,) = torch.autograd.grad(x**3, x, create_graph=True); slope.backward(); x.grad", "6 * x"),
    Example("Without it the slope is a number without a past",
            X, "(slope,) = torch.autograd.grad(x**3, x); slope.backward()"),
    Example("All second derivatives at once: the Hessian of a^2 b",
            "x = torch.tensor([2.0, 3.0])", "torch.autograd.functional.hessian(lambda x: x[0] ** 2 * x[1], x)",
            "a, b = x; np.array([[2 * b, 2 * a], [2 * a, 0]])"),
)  # fmt: skip

VECTORS = (
    Example("backward begins at one number", VECTOR, "(x**2).backward()"),
    Example("or with a vector v, and leaves v J in x.grad: here J = diag(2 x)",
            f"{VECTOR}; v = torch.tensor([1.0, 10.0, 100.0])", "(x**2).backward(v); x.grad", "v @ np.diag(2 * x)"),
    Example("sum().backward() is v = (1, 1, 1)",
            VECTOR, "(x**2).sum().backward(); x.grad", "np.ones(3) @ np.diag(2 * x)"),
    Example("The whole Jacobian of a linear map is its matrix",
            "x = torch.ones(2); w = torch.tensor([[1.0, 2.0], [3.0, 4.0]])",
            "torch.autograd.functional.jacobian(lambda x: w @ x, x)", "w"),
    Example("That of softmax: p_i (1 - p_i) on the diagonal, -p_i p_j beside it",
            "x = torch.tensor([1.0, 2.0, 3.0])", "torch.autograd.functional.jacobian(lambda x: x.softmax(0), x)",
            "p = np.exp(x) / np.exp(x).sum(); np.diag(p) - np.outer(p, p)"),
    Example("jvp multiplies from the other side: J v, the slope along the direction v",
            "x = torch.tensor([0.0, 1.0]); v = torch.tensor([1.0, 2.0])",
            "torch.autograd.functional.jvp(torch.sin, x, v)[1]", "np.cos(x) * v"),
    Example("v J of a convolution is a transposed convolution: each output hands v times the kernel back to its inputs",
            "x = torch.zeros(1, 1, 3, 3, requires_grad=True); w = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]);"
            " v = torch.tensor([[[[1.0, 0.0], [0.0, 10.0]]]])",
            "F.conv2d(x, w).backward(v); x.grad, F.conv_transpose2d(v, w)",
            "g = np.zeros((1, 1, 3, 3)); g[..., :2, :2] += 1 * w; g[..., 1:, 1:] += 10 * w; (g, g)"),
)  # fmt: skip

IN_PLACE = (
    Example("exp keeps its result for backward: changed in place, it is refused",
            VECTOR, "y = x.exp(); y.add_(1); y.sum().backward()"),
    Example("This counter gives it away", VECTOR, "y = x.exp(); y.add_(1); y._version", "1"),
    Example("A new tensor is fine", VECTOR, "y = x.exp(); y = y + 1; y.sum().backward(); x.grad", "np.exp(x)"),
    Example("as is a change of what nobody kept: 2 x needs only the 2",
            VECTOR, "y = 2 * x; y.add_(1); y.sum().backward(); x.grad", "np.full(3, 2.0)"),
)  # fmt: skip

CORNERS = (
    Example("At the corner of ReLU torch takes the slope 0",
            "x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)",
            "F.relu(x).sum().backward(); x.grad", "np.array([0.0, 0.0, 1.0])"),
    Example("max sends the gradient to the largest element alone",
            VECTOR, "x.max().backward(); x.grad", "np.eye(3)[x.argmax()]"),
    Example("round is flat, and so no training passes through it",
            VECTOR, "x.round().sum().backward(); x.grad", "np.zeros(3)"),
    Example("argmax is no number that moves with x", VECTOR, "x.argmax().backward()"),
    Example("The root is vertical at 0", ZERO, "x.sqrt().backward(); x.grad", "np.array(np.inf)"),
    Example("where does not protect from it: 0 times infinity is not a number",
            ZERO, "torch.where(x > 0, x.sqrt(), 0.0).backward(); x.grad", "np.array(np.nan)"),
    Example("It has to be kept away from 0 before",
            ZERO, "torch.where(x > 0, x.clamp(min=1e-12).sqrt(), 0.0).backward(); x.grad", "np.array(0.0)"),
)  # fmt: skip

CHAPTERS = {
    "leaves": LEAVES,
    "accumulation": ACCUMULATION,
    "cutting": CUTTING,
    "again": AGAIN,
    "vectors": VECTORS,
    "in_place": IN_PLACE,
    "corners": CORNERS,
}
