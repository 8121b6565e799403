"""Claims that need what is not here: images of CIFAR-10 or ImageNet, weights, or hours."""

from __future__ import annotations

_NO_DATA = "no CIFAR-10 or ImageNet images here, and GPU days of training"
_TRAIN = (
    "`python -m rsbounds_torch train --model rsbounds_torch.models:resnet110 --data cifar10.npz "
    "--input-bounds 0 1 --held-out 10000 --sigma {sigma} --loss {loss} --epochs 150 --schedule "
    "step --step-epochs 50 --lr 0.1 --folder {loss}{more}`"
)
_CERTIFY = (
    "`python -m rsbounds_torch certify --model rsbounds_torch.models:resnet110 --weights "
    "{loss}/checkpoint.pt --data cifar10.npz --first 50000 --every 20 --num-classes 10 "
    "--input-bounds 0 1 --store {loss}.sqlite{law}{found}`"
)
_REPORT = "`rsbounds report gaussian.sqlite {loss}.sqlite`"


def _how(loss: str, more: str = "", found: str = "", sigma: str = "0.5", law: str = "") -> str:
    """The commands, with the settings of the papers; the model that it is compared with alike."""
    given = law or f" --sigma {sigma}"
    parts = (_TRAIN.replace("--sigma {sigma}", given.strip()), _CERTIFY, _REPORT)
    return ", ".join(part.format(loss=loss, more=more, found=found, law=given) for part in parts)


_DS = " --smoothing ddrs"
#: Source, claim, why not, what would check it.
NOT_CHECKED = (
    ("adre-t-certify, Table 1", "ADRE_REG certifies up to 9 and 8 points more than Basic on "
     "CIFAR-10 and ImageNet", _NO_DATA,
     _how("adre-reg", " --loss-option copies=8 --loss-option weight=0.1")),
    ("adre-t-certify, Figure 1", "ADRE_ADV is above SMOOTHADV on CIFAR-10 and ImageNet", _NO_DATA,
     _how("adre-adv", " --loss-option copies=8")),
    ("adre-t-certify, Figure 2", "T-Certify's gain on ImageNet, and on CIFAR-10 at sigma 0.5 and 1",
     "no votes of those models are published",
     "`rsbounds report adre-reg.sqlite --methods t-certify,complement` on such runs"),
    ("adre-t-certify, implementation", "the same draws for both terms cost no accuracy; the "
     "gradient of the cross-entropy of means is the better attack",
     "ablations of training on CIFAR-10", _how("adre-reg", " --loss-option copies=8")),
    ("data-dependent-smoothing, Tables 1 to 3", "the accuracies themselves, and the gains of DS "
     "and DS2 over COHEN, SMOOTHADV and MACER", _NO_DATA, _how("macer", _DS, _DS)),
    ("data-dependent-smoothing, Table 4", "the gains of DS in l1 on CIFAR-10 and ImageNet",
     _NO_DATA, _how("gaussian", "", _DS, law=" --half-width 0.5")),
    ("data-dependent-smoothing, 3.5 and 4.4", "no two regions with different predictions ever "
     "intersected on CIFAR-10 and ImageNet", _NO_DATA,
     "`rsbounds memory macer.sqlite --data cifar10.npz --memory memory.sqlite` on the run above: "
     "it says how many were adjusted"),
    ("data-dependent-smoothing, Figures 6 and 7", "sigma_x of two CIFAR-10 images; K on CIFAR-10 "
     "and ImageNet", _NO_DATA,
     "the second command of Table 1, with `--smoothing ddrs --smoothing-option steps=1500`"),
    ("rddrs, Figure 2", "the curves on all 10,000 MNIST test images at sigma 0.12, 0.25 and 0.5",
     "the section `smoothing` has some images at sigma 0.5; all of them take days on two cores",
     "`RSBOUNDS_IMAGES=2000 RSBOUNDS_RUNS=runs python -m paper_checks --only smoothing`"),
    ("rddrs, 4", "on MNIST kappa has no significant effect, and runs with 20,000 draws give almost "
     "the same", "hours; the section `plane` has both in the plane",
     "`rsbounds_torch.optimize_noise(classifier, x, method='rddrs', kappa=..., draws=20_000, "
     "seed=...)`"),
    ("rddrs, 4", "matrices of CIFAR-10's size (d = 3072) are feasible", "timings of a machine are "
     "not in this report", "`make bench`"),
    ("optimal-certified-radius, abstract, 5.2 and 5.3", "nothing: the draft has placeholder text "
     "or nothing there, and no experiments", "-", "-"),
)  # fmt: skip
