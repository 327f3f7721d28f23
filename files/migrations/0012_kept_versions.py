from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('files', '0011_clients_conflict_copies'),
    ]

    operations = [
        migrations.AddField(
            model_name='fileversion',
            name='is_kept',
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
