"""The review page: a server of HTML for one workplace, on this machine unless artbot.toml says otherwise.

`serving` listens, `guard` refuses what must not come in, `logins` knows who may, `pages` shows and `acts` does, both
through artbot.desk. The HTML is in `templates`, and works without the JavaScript in `static`.
"""
