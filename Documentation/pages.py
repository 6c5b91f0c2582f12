"""Which file of the repository becomes which page of the site."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = "Sources/DiffAccel/Documentation.docc"

#: Articles of the DocC catalogue, by what their pages are called.
ARTICLES = {
    "FirstSteps": "first-steps",
    "CommandLine": "command-line",
    "ModelsAndMethods": "models-and-methods",
    "RunACheckpoint": "run-a-checkpoint",
    "DrawFromAPrompt": "draw-from-a-prompt",
    "MakeASound": "make-a-sound",
    "DiffusionLanguageModels": "language-models",
    "CollaborativeDecoding": "collaborative-decoding",
    "ChooseAnAcceleration": "choose-a-plan",
    "LearningToCache": "learning-to-cache",
    "AsynchronousDenoising": "asynchronous-denoising",
    "LearnFromData": "learning",
    "CLibrary": "c-library",
    "MemoryAndThreads": "memory-and-threads",
    "Deploying": "deploying",
    "UntrustedCheckpoints": "untrusted-checkpoints",
    "FromDiffusers": "from-diffusers",
    "FromOtherPrograms": "from-other-programs",
    "Architecture": "architecture",
    "WriteAMethod": "write-a-method",
    "Exactness": "exactness",
}

#: Files of the repository, by the paths of their pages.
PAGES = {
    "README.md": "index.md",
    f"{CATALOGUE}/DiffAccel.md": "reference/swift.md",
    **{f"{CATALOGUE}/{name}.md": f"guide/{page}.md" for name, page in ARTICLES.items()},
    "Benchmarks/README.md": "benchmarks/index.md",
    "Benchmarks/scaling.md": "benchmarks/scaling.md",
    "Packaging/README.md": "develop/packages.md",
    "CONTRIBUTING.md": "develop/contributing.md",
    "SECURITY.md": "develop/security.md",
    "CHANGELOG.md": "develop/changelog.md",
    "Documentation/README.md": "develop/site.md",
    "Tests/README.md": "develop/tests.md",
    "Tests/Fuzz/README.md": "develop/fuzz.md",
    "Tests/Ranks/README.md": "develop/ranks.md",
    "Tests/SpillCensus/README.md": "develop/spill-census.md",
    "Tests/TrapCensus/README.md": "develop/trap-census.md",
    "Tools/fixtures/README.md": "develop/fixtures.md",
    "bindings/c/README.md": "reference/c-programs.md",
    "bindings/python/README.md": "reference/python-package.md",
    "bindings/swift-example/README.md": "reference/swift-package.md",
    **{f"{card.parent.relative_to(ROOT)}/README.md": f"models/{card.parent.name}.md" for card in sorted(ROOT.glob("Models/*/README.md"))},
}
