from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("blocks", "0003_hold"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="block",
            index=models.Index(
                condition=models.Q(("state", "damaged")),
                fields=["block_hash"],
                name="blocks_block_damaged",
            ),
        ),
    ]
