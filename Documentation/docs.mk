# The site; included by the Makefile. See Documentation/README.md.
#
#   make docs             docs/, from the sources' comments, the articles and the cards, with every link checked
#   make docs-look        opens it in Chromium, narrow and wide; screenshots in build/look

DOCS_VENV := build/docs-venv
DOCS_PYTHON = $(DOCS_VENV)/bin/python

.PHONY: docs docs-look

$(DOCS_VENV)/stamp: Documentation/requirements.txt
	$(call needs,$(PYTHON))
	$(PYTHON) -m venv --clear $(DOCS_VENV)
	$(DOCS_PYTHON) -m pip install --quiet --disable-pip-version-check -r Documentation/requirements.txt \
		|| { echo "make docs needs what Documentation/requirements.txt names, from PyPI or from where PIP_INDEX_URL says" >&2; exit 1; }
	touch $@

docs: build $(DOCS_VENV)/stamp
	$(DOCS_PYTHON) Documentation/swift_reference.py $(RELEASE) build/swift-reference
	$(DOCS_PYTHON) Documentation/stage.py $(CLI) build/swift-reference build/site
	NO_MKDOCS_2_WARNING=1 $(DOCS_PYTHON) -m mkdocs --quiet build --strict --config-file Documentation/mkdocs.yml --site-dir "$(CURDIR)/docs"
	$(DOCS_PYTHON) Documentation/check_site.py docs

docs-look: $(DOCS_VENV)/stamp
	@test -f docs/index.html || { echo "no docs/index.html: make docs first" >&2; exit 1; }
	@command -v chromium >/dev/null || $(MAKE) --no-print-directory deps PACKAGES=chromium
	$(DOCS_PYTHON) -m pip install --quiet --disable-pip-version-check "playwright>=1.40"
	$(DOCS_PYTHON) Documentation/look.py docs build/look
