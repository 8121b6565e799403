"""Known mistakes, one replacement of text each, and the tests that should see them.

`run.py` plants them one at a time in a copy of the repository. The text that is replaced must
stand in its file exactly once (``tests/test_mutants.py`` sees to that), so a mistake whose place
has changed is noticed and not silently left out.
"""

import itertools
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A mistake.

    Attributes
    ----------
    name : str
        What it is, in words.
    file : str
        Where it is planted.
    old, new : str
        The text that stands there, once, and what is put in its place.
    tests : str
        What to run, words of a pytest command line.
    unseen : str
        Why no test can see it; empty for a mistake that must be caught.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str
    unseen: str = ""


MARGIN, MEAN = "rsbounds/bounds/margin", "rsbounds/bounds/mean"
PROPORTION = "tests/bounds/proportion"
COVERED = "tests/coverage/test_margin_coverage.py::test_error_is_at_most_alpha"
PREDICTED = (
    "tests/coverage/test_margin_coverage.py::test_predict_errs_at_most_alpha "
    "tests/certificates/test_certificates.py::test_predict_by_scipy"
)
METHODS = "tests/contracts/test_margin_methods.py"
EXACT = "tests/bounds/margin/test_exact"
MEANS = "tests/bounds/mean"
SAMPLES = f"{MEANS}/test_oracles.py {MEANS}/test_exact_coverage.py"
SEQUENCES = "tests/contracts/test_sequences.py"
LAWS = "tests/contracts/test_noise_laws.py"
OPTIMIZERS = "tests/torch/optimizers/test_optimizers.py"
MEMORY = "tests/certificates/test_memory.py"
RUNS = "tests/runs/test_runs.py"


def covered(method: str) -> str:
    """Enumerations of a margin method, with the number of its variant."""
    cases = itertools.product(("3-5-16", "2-23-40", "3-17-20"), ("linear", "probit"))
    return " ".join(f"{COVERED}[{case}-{method}-{scale}]" for case, scale in cases)


MUTANTS = [
    # -- one proportion and counts -------------------------------------------------------
    Mutant(
        "strict tail in Clopper-Pearson: P(X > k) for P(X >= k)",
        "rsbounds/bounds/proportion/clopper_pearson.py",
        "proportion_lower(float(k[i]), float(n[i]), alpha[i])",
        "proportion_lower(min(k[i] + 1.0, float(n[i])), float(n[i]), alpha[i])",
        PROPORTION,
    ),
    Mutant(
        "an interval at alpha on each side, in place of alpha/2",
        "rsbounds/bounds/proportion/clopper_pearson.py",
        "    half = np.asarray(alpha, dtype=np.float64) / 2",
        "    half = np.asarray(alpha, dtype=np.float64)",
        PROPORTION,
    ),
    Mutant(
        "the other tail of an upper bound (ppf for sf)",
        "rsbounds/bounds/proportion/clopper_pearson.py",
        "    return (q if upper else p).reshape(shape)",
        "    return (1.0 - q if upper else p).reshape(shape)",
        PROPORTION,
    ),
    Mutant(
        "the all-ones bound at alpha^(1/(n - 1))",
        "rsbounds/_numerics.py",
        "        p = math.exp(log_alpha / n) * (1.0 - 8.0 * EPS * (1.0 - log_alpha / n))",
        "        p = math.exp(log_alpha / (n - 1.0)) * (1.0 - 8.0 * EPS * (1.0 - log_alpha / n))",
        PROPORTION,
    ),
    Mutant(
        "the bound on a proportion aims at alpha, without the error of the tail",
        "rsbounds/_numerics.py",
        "        gap = log_alpha - log_tail - 2.0 * error - 4.0 * EPS * (1.0 - log_alpha)",
        "        gap = log_alpha - log_tail",
        f"{PROPORTION} tests/test_numerics.py",
    ),
    Mutant(
        "PREDICT with a one-sided test",
        "rsbounds/certificates/_predict_kernel.py",
        "        p[i] = min(2.0 * math.exp(log_tail + error)",
        "        p[i] = min(1.0 * math.exp(log_tail + error)",
        PREDICTED,
    ),
    Mutant(
        "strict tail in the test of PREDICT",
        "rsbounds/certificates/_predict_kernel.py",
        "upper_tail(float(first[i]), float(first[i] + second[i]), 0.5, 0.5)",
        "upper_tail(first[i] + min(1.0, second[i]), float(first[i] + second[i]), 0.5, 0.5)",
        PREDICTED,
    ),
    # -- margins -------------------------------------------------------------------------
    Mutant(
        "a forgotten class: the last one is never the runner-up",
        f"{MARGIN}/_rows.py",
        "    for c in range(row.size):",
        "    for c in range(row.size - 1):",
        covered("runner-up-0"),
    ),
    Mutant(
        "swapped bars: the lower bound on p_B where the upper belongs",
        f"{MARGIN}/bonferroni.py",
        "        qb, pb = proportion_lower(float(n[i] - other), float(n[i]), share)",
        "        pb, qb = proportion_lower(float(other), float(n[i]), share)",
        covered("bonferroni-0"),
    ),
    Mutant(
        "alpha not split over the pair",
        f"{MARGIN}/bonferroni.py",
        '        share = problem.alpha / (2 if self.over == "pair" else counts.shape[1])',
        '        share = problem.alpha / (1 if self.over == "pair" else counts.shape[1])',
        f"{covered('bonferroni-0')} {METHODS}::test_pair_bonferroni_is_equations_4_to_6",
    ),
    Mutant(
        "Bonferroni over K - 1 classes instead of K",
        f"{MARGIN}/bonferroni.py",
        'if self.over == "pair" else counts.shape[1])',
        'if self.over == "pair" else counts.shape[1] - 1)',
        f"{covered('bonferroni-1')} {METHODS}::test_pair_bonferroni_is_equations_4_to_6",
    ),
    Mutant(
        "all of alpha for p_B, whatever p_A was given",
        f"{MARGIN}/runner_up.py",
        "    rest = (1.0 - fraction) * (1.0 - 4e-16) * alpha",
        "    rest = (1.0 - 4e-16) * alpha",
        f"{covered('runner-up-0')} {METHODS}::test_order_of_methods",
    ),
    Mutant(
        "a split planned from the counts that are bounded",
        f"{MARGIN}/runner_up.py",
        "            counts if problem.selection is None else problem.selection,",
        "            counts,",
        f"{METHODS}::test_planned_split_uses_only_the_selection_counts",
    ),
    Mutant(
        "T-Certify without the class sum",
        f"{MARGIN}/t_certify.py",
        "    if others.size == 1:\n        return p, q",
        "    if others.size >= 1:\n        return p, q",
        f"{covered('t-certify-0')} {METHODS}::test_t_certify_solves_equation_14",
    ),
    Mutant(
        "T-Certify: p_B at the share of p_A",
        f"{MARGIN}/t_certify.py",
        "    rests = (1.0 - fractions) * (1.0 - 4e-16) * alpha",
        "    rests = fractions * alpha",
        f"{covered('t-certify-0')} {METHODS}::test_t_certify_solves_equation_14",
    ),
    Mutant(
        "T-Certify without its majority rule",
        f"{MARGIN}/t_certify.py",
        "            if majority and pa[j] <= 0.5:",
        "            if majority and pa[j] <= 0.0:",
        f"{METHODS}::test_paper_rule_of_t_certify",
    ),
    Mutant(
        "the exact bound spends beta on the confidence set and does not take it from alpha",
        f"{MARGIN}/_search.py",
        "math.log(alpha - beta) - 1e-12, z, slack)",
        "math.log(alpha) - 1e-12, z, slack)",
        f"{EXACT}.py::test_hard_rows",
    ),
    Mutant(
        "the exact bound leaves out the ends of the curve, where a share is 0",
        f"{MARGIN}/_proof.py",
        "        if start_edge if edge == 0 else end_edge:",
        "        if False:",
        f"{EXACT}_extremes.py::test_no_bound_exceeds_that_of_two_classes "
        f"{EXACT}_extremes.py::test_errors_by_enumeration_at_every_alpha",
    ),
    Mutant(
        "the exact bound begins its curve inside of the window",
        "rsbounds/solvers/_sup.py",
        "        start = problem.a1 - level\n",
        "        start = problem.a1 - level + 0.05\n",
        f"{EXACT}.py::test_the_p_value_dominates_a_dense_scan_at_the_bound",
    ),
    Mutant(
        "the exact bound takes a heuristic level for a proved one",
        f"{MARGIN}/_search.py",
        "        if proof.done:\n            _keep(found, proof.level,",
        "        if True:\n            _keep(found, level + 0.3 / rate,",
        f"{EXACT}.py::test_coverage_by_complete_enumeration {EXACT}_independent.py",
    ),
    Mutant(
        "the margin rounded up",
        "rsbounds/_numerics.py",
        "    return max(value - 2.0 * EPS * (abs(value) + EPS), -1.0)",
        "    return max(value + 2.0 * EPS * (abs(value) + EPS), -1.0)",
        "tests/test_numerics.py tests/certificates/test_certificates.py tests/properties",
    ),
    Mutant(
        "a third party's margin rounded up",
        f"{MARGIN}/_pair.py",
        "            lower[i] = max(value - EPS * abs(value), -1.0)",
        "            lower[i] = max(value + EPS * abs(value), -1.0)",
        "tests/test_registry.py::test_what_a_method_is_written_with",
    ),
    Mutant(
        "the selection sample is bounded, the same array",
        f"{MARGIN}/_base.py",
        "    if claim.selection is not None and np.shares_memory(claim.selection, counts):",
        "    if claim.selection is None and np.shares_memory(claim.classes, counts):",
        f"{METHODS}::test_selection_and_estimation_must_differ",
    ),
    Mutant(
        "the selection sample is bounded, a copy of it",
        f"{MARGIN}/_copies.py",
        "    if evidence >= -math.log(SURPRISE):",
        "    if evidence >= math.inf:",
        "tests/certificates/test_selection.py",
    ),
    Mutant(
        "input with invalid draws certified by those that are left",
        "rsbounds/certificates/votes.py",
        "    good = np.asarray(invalid) == 0",
        "    good = np.asarray(invalid) >= 0",
        "tests/runs/test_driver.py::test_inputs_with_nan_answers_abstain_and_are_reported",
    ),
    # -- means ---------------------------------------------------------------------------
    Mutant(
        "ln(1/delta) for ln(2/delta) in the empirical Bernstein bound",
        f"{MEAN}/empirical_bernstein.py",
        "        log_term = (math.log(2.0) - math.log(alpha)) * (1.0 + 4.0 * EPS)",
        "        log_term = -math.log(alpha) * (1.0 + 4.0 * EPS)",
        f"{MEANS}/test_exact_coverage.py::test_three_points {MEANS}/test_oracles.py",
    ),
    Mutant(
        "Hoeffding with half its width",
        f"{MEAN}/hoeffding.py",
        "        width = math.sqrt(-math.log(alpha) / (2.0 * n))",
        "        width = math.sqrt(-math.log(alpha) / (8.0 * n))",
        f"{MEANS}/test_exact_coverage.py::test_two_points",
    ),
    Mutant(
        "the missing 4 in v_i",
        f"{MEAN}/prpl_eb.py",
        "            paid[i] = gap * gap",
        "            paid[i] = 0.25 * gap * gap",
        SAMPLES,
    ),
    Mutant(
        "v_i centred at a mean that has seen X_i",
        f"{MEAN}/prpl_eb.py",
        "            gap = x - min(total / t, 1.0)",
        "            gap = x - min((total + x) / (t + 1.0), 1.0)",
        SAMPLES,
    ),
    Mutant(
        "look-ahead in lambda_t",
        f"{MEAN}/_capital.py",
        "        bets[i] = math.sqrt(scale * t / (squares * budget))\n"
        "        total, squares, _ = took(y[i], t + 1.0, total, squares, 0.0)\n",
        "        total, squares, _ = took(y[i], t + 1.0, total, squares, 0.0)\n"
        "        bets[i] = math.sqrt(scale * (t + 1.0) / (squares * budget))\n",
        SAMPLES,
    ),
    Mutant(
        "the capital has to reach 1/(2 alpha)",
        f"{MEAN}/_capital.py",
        "64.0 * EPS) / alpha",
        "64.0 * EPS) / (2.0 * alpha)",
        SAMPLES,
    ),
    Mutant(
        "grid inversion to the nearest point, not to the last one rejected",
        f"{MEAN}/_capital.py",
        "            low = m[found - 1]",
        "            low = m[min(found, LANES - 1)]",
        SAMPLES,
    ),
    Mutant(
        "a gambler who begins with twice the capital",
        f"{MEAN}/goal.py",
        "                capital[k, j] = weights[k]",
        "                capital[k, j] = 2.0 * weights[k]",
        SAMPLES,
    ),
    Mutant(
        "a cell that is not rejected counted as rejected",
        f"{MEAN}/goal.py",
        "                return left\n            left = m[j]",
        "                return m[j]\n            left = m[j]",
        f"{MEANS}/test_oracles.py::test_goal {MEANS}/test_exact_coverage.py",
    ),
    Mutant(
        "bets that have seen the sample they are placed on",
        f"{MEAN}/goal.py",
        "        mean[i] = min(total / (i + PRIOR_WEIGHT), 1.0)",
        "        mean[i] = min((total + y[i]) / (i + 1.0 + PRIOR_WEIGHT), 1.0)",
        f"{MEANS}/test_oracles.py::test_bets_do_not_see_the_sample_they_are_placed_on",
    ),
    Mutant(
        "both sides of a mean at alpha each",
        f"{MEAN}/_base.py",
        '    share = level / 2 if side == "both" else level',
        "    share = level",
        f"{MEANS}/test_exact_coverage.py::test_two_points",
    ),
    Mutant(
        "both sides of a sequence at alpha each",
        f"{MEAN}/_sequence.py",
        '        return self.alpha / 2 if self.side == "both" else self.alpha',
        "        return self.alpha",
        SEQUENCES,
    ),
    Mutant(
        "both pairs of a soft margin at all of alpha",
        "rsbounds/certificates/soft.py",
        "    rest = (1.0 - share) * alpha * (1.0 - 4.0 * EPS)",
        "    rest = alpha * (1.0 - 4.0 * EPS)",
        "tests/certificates/test_soft.py",
    ),
    Mutant(
        "the allowance for rounding left out of the capital's goal",
        f"{MEAN}/_capital.py",
        "    return (1.0 + n * EPS * (4.0 + 2.0 / (1.0 - cap)) + 64.0 * EPS) / alpha",
        "    return 1.0 / alpha",
        SAMPLES,
        unseen="the allowance bounds the worst sum of n roundings; those of real samples cancel, "
        "and the grid of candidates is coarser than what is left",
    ),
    # -- any time ------------------------------------------------------------------------
    Mutant(
        "a decision at 1/(2 alpha)",
        "rsbounds/sequential/decide.py",
        "        level = -math.log(self._level)\n",
        "        level = -math.log(min(2.0 * self._level, 0.9))\n",
        "tests/sequential/test_decide.py::test_the_object_follows_the_rule "
        "tests/sequential/test_decide.py::test_wrong_answers_against_every_class_exactly "
        "tests/sequential/test_decide.py::test_tiny_and_lopsided_radii",
    ),
    Mutant(
        "a yes at a radius without one at all smaller radii",
        "rsbounds/sequential/ladder.py",
        '        yes = np.logical_and.accumulate(own == "yes", axis=1)\n',
        '        yes = own == "yes"\n',
        "tests/sequential/test_ladder.py::test_answers_of_the_tests_are_put_in_order",
    ),
    Mutant(
        "every look of an adaptive run at all of alpha",
        "rsbounds/sequential/adaptive.py",
        "            alpha=float(self._level * self.shares[look]),",
        "            alpha=float(self._level),",
        "tests/sequential/test_decide.py::test_adaptive_holds_its_error_probability "
        "tests/sequential/test_decide.py::test_each_look_is_a_bound_at_its_share_of_alpha",
    ),
    Mutant(
        "simultaneous counts at alpha for every class",
        "rsbounds/sequential/counts.py",
        "        return self.alpha / self.classes if self.simultaneous else self.alpha",
        "        return self.alpha",
        "tests/sequential/test_counts.py",
    ),
    Mutant(
        "shares of a family that add to more than alpha",
        "rsbounds/certificates/family.py",
        "    parts = (place + 1.0) * (place + 2.0) if inputs is None",
        "    parts = (place + 1.0) * (place + 1.0) if inputs is None",
        f"{MEMORY}::test_shares_of_alpha_add_up_to_no_more",
    ),
    # -- noise and radii -----------------------------------------------------------------
    Mutant(
        "sigma^2/2 for sigma/2",
        "rsbounds/noises/gaussian.py",
        "        return self.sigma / 2 / math.sqrt(self.dimension or 1)\n",
        "        return self.sigma**2 / 2 / math.sqrt(self.dimension or 1)\n",
        LAWS,
    ),
    Mutant(
        "the l1 radius of uniform noise with the full width",
        "rsbounds/noises/uniform.py",
        "        return self.half_width\n",
        "        return 2 * self.half_width\n",
        LAWS,
    ),
    Mutant(
        "a Lipschitz radius without the square root of 2",
        "rsbounds/noises/lipschitz.py",
        "            return 1.0 / (math.sqrt(2.0) * self.constant)",
        "            return 1.0 / self.constant",
        f"{LAWS} tests/noises/test_noises.py",
    ),
    Mutant(
        "the constant of a soft classifier rounded down",
        "rsbounds/certificates/simplex.py",
        "    return math.nextafter(product, math.inf)",
        "    return math.nextafter(product, 0.0)",
        "tests/certificates/test_soft.py",
    ),
    Mutant(
        "a radius rounded up",
        "rsbounds/noises/_curve.py",
        "* (size * (1.0 - 4.0 * _EPS))",
        "* (size * (1.0 + 4.0 * _EPS))",
        f"{LAWS} tests/noises/test_noises.py",
    ),
    Mutant(
        "shown numbers rounded to nearest",
        "rsbounds/_text.py",
        "rounding=ROUND_FLOOR))",
        'rounding="ROUND_HALF_EVEN"))',
        "tests/test_text.py",
    ),
    Mutant(
        "a curve that rises half as far",
        "rsbounds/noises/_base.py",
        "/ (2.0 * np.asarray(self.radius_per_margin))",
        "/ (4.0 * np.asarray(self.radius_per_margin))",
        LAWS,
    ),
    Mutant(
        "selection and estimation from the same draws",
        "rsbounds/runs/kinds/votes.py",
        '        select, none0 = subject.votes(inputs, indices, "select", [(0, n0)] * b)',
        '        select, none0 = subject.votes(inputs, indices, "estimate", [(0, n0)] * b)',
        f"{RUNS}::test_a_run_is_select_estimate_certify",
    ),
    # -- regions and memory --------------------------------------------------------------
    Mutant(
        "a memory that looks at the first of the regions within reach only",
        "rsbounds/certificates/memory.py",
        "        for part, places in self._chunks(rows[self._classes[rows] != own]):",
        "        for part, places in self._chunks(rows[self._classes[rows] != own][:1]):",
        MEMORY,
    ),
    Mutant(
        "a memory that stores the region it was given, not the one it shrank to",
        "rsbounds/certificates/memory.py",
        "        self.restore(point, kept, answer)",
        "        self.restore(point, given, answer)",
        MEMORY,
    ),
    Mutant(
        "a memory whose index forgets the reach of the new region",
        "rsbounds/certificates/memory.py",
        "        rows = self._index.near(point, self._reach(region))",
        "        rows = self._index.near(point, 0.0)",
        MEMORY,
    ),
    Mutant(
        "a witness of disjointness without rounding",
        "rsbounds/regions/disjoint.py",
        "        apart = terms.sum(axis=1) - error",
        "        apart = terms.sum(axis=1)",
        "tests/regions/test_disjoint.py",
    ),
    Mutant(
        "points on a border are inside, up to a tolerance",
        "rsbounds/regions/disjoint.py",
        "broadcast_to(gauge < region.radius, (rows,))",
        "broadcast_to(gauge <= region.radius * (1.0 + 1e-9), (rows,))",
        "tests/regions/test_disjoint.py",
    ),
    Mutant(
        "a memory takes certificates of another law",
        "rsbounds/certificates/memory.py",
        "        if certificates.law is not None and certificates.law != noise.to_dict():",
        "        if certificates.law is not None and certificates.law is noise:",
        MEMORY,
    ),
    # -- runs ----------------------------------------------------------------------------
    Mutant(
        "a resumed run ignores the law (and all else) that it was begun with",
        "rsbounds/runs/store.py",
        "        if before != now:\n",
        '        if before != now and key not in ("noise", "alpha"):\n',
        RUNS,
    ),
    Mutant(
        "a resumed run does not look at its inputs",
        "rsbounds/runs/probes.py",
        "    if digest(x, stored) != stored:",
        "    if digest(x, stored) is None:",
        "tests/runs/test_driver.py",
    ),
    Mutant(
        "a file of a memory is opened whatever it is about",
        "rsbounds/runs/memory.py",
        "        wanted = {**self.memory.fingerprint, **(config or {})}",
        "        wanted = {**(config or {})}",
        "tests/runs/test_memory.py",
    ),
    Mutant(
        "counts bounded again at the run's alpha, whatever was asked",
        "rsbounds/runs/kinds/votes.py",
        "        level = own.alpha if alpha is None else _validate.alpha(alpha)",
        "        level = own.alpha",
        f"{RUNS}::test_rebound_equals_certify_on_the_stored_counts",
    ),
    Mutant(
        "columns of counts in the order of the file",
        "rsbounds/_files.py",
        "_Placed([found[numbers.index(i)] for i in range(len(found))], said.classes)",
        "_Placed(list(found), said.classes)",
        "tests/commands/test_tables.py",
    ),
    Mutant(
        "a wrong class counts in the average certified radius",
        "rsbounds/report/accuracy.py",
        "    return np.asarray(certificates.top == known)",
        "    return np.asarray(certificates.radius > 0) & (known >= 0)",
        "tests/report/test_report.py::test_acr_counts_wrong_and_abstained_as_zero",
    ),
    # -- plug-ins ------------------------------------------------------------------------
    Mutant(
        "a plug-in takes a name from the library",
        "rsbounds/_registry.py",
        "                if point.name not in self._targets and point.name not in self._loaded:",
        "                if point.name not in self._loaded:",
        "tests/test_registry.py",
    ),
    Mutant(
        "an object may bear the name of a method that it is not",
        "rsbounds/_registry.py",
        "        if name in self and self[name] is not type(member):",
        "        if name in self and self[name] is None:",
        "tests/test_registry.py",
    ),
    Mutant(
        "a method that returns one number for all rows",
        f"{MARGIN}/_base.py",
        "    if lower.shape != (rows,):",
        "    if lower.ndim > 1:",
        "tests/test_registry.py",
    ),
    # -- the adapter ---------------------------------------------------------------------
    Mutant(
        "an optimizer looks at the draws that certify",
        "rsbounds_torch/optimizers/_base.py",
        "            self.x, spans, seed=self.seed, role=role, streams=self.streams",
        '            self.x, spans, seed=self.seed, role="estimate", streams=self.streams',
        f"{OPTIMIZERS}::test_draws_that_certify_are_not_those_that_search "
        f"{OPTIMIZERS}::test_a_law_that_fits_the_draws_it_saw_costs_no_alpha",
    ),
    Mutant(
        "the judge is not asked about the start",
        "rsbounds_torch/optimizers/_ascent.py",
        "        best = law.where(better, best)",
        "        best = law",
        OPTIMIZERS,
    ),
    Mutant(
        "the largest constant of the layers for their product",
        "rsbounds_torch/lipschitz.py",
        "    return 0.0 if a == 0.0 or b == 0.0 else up(a * b)",
        "    return 0.0 if a == 0.0 or b == 0.0 else up(max(a, b))",
        "tests/torch/test_lipschitz.py",
    ),
    Mutant(
        "ADRE's regulariser with the other sign",
        "rsbounds_torch/training/adre_reg.py",
        "    return risk - weight * rival_cross_entropy(logits, labels).mean()",
        "    return risk + weight * rival_cross_entropy(logits, labels).mean()",
        "tests/torch/training/test_formulas.py",
    ),
    Mutant(
        "noise for training from the streams that certify",
        "rsbounds_torch/training/_base.py",
        'self.law, tuple(x.shape[1:]), seed=self.seed, role="train", device=x.device',
        'self.law, tuple(x.shape[1:]), seed=self.seed, role="estimate", device=x.device',
        "tests/torch/training/test_losses.py::"
        "test_training_noise_is_the_law_and_never_the_certificates",
    ),
]
