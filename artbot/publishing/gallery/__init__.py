"""The site that approved works hang in: plain files that any web server shows, and that know their own works.

`records` what is known of a work, beside its page; `places` where the files lie; `sizes` the picture for
screens; `pages`, `style`, `speech` and `feeds` what visitors see; `site` which files there should be, and
how they come to be there.
"""
