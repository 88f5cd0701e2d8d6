/*
 * German. Artists and restaurants are invented. The form of the tables is explained in synth_tables.h.
 */
#include "synth_tables.h"

static const synth_room de_rooms[SYNTH_N_ROOMS] = {
    {"Küche", "in der Küche", "der Küche"}, {"Schlafzimmer", "im Schlafzimmer", "des Schlafzimmers"},
    {"Bad", "im Bad", "des Bads"}, {"Wohnzimmer", "im Wohnzimmer", "des Wohnzimmers"},
    {"Büro", "im Büro", "des Büros"}, {"Flur", "im Flur", "des Flurs"}};

static const synth_day de_days[SYNTH_N_DAYS] = {
    {"Montag", "am Montag"}, {"Dienstag", "am Dienstag"}, {"Mittwoch", "am Mittwoch"},
    {"Donnerstag", "am Donnerstag"}, {"Freitag", "am Freitag"}, {"Samstag", "am Samstag"},
    {"Sonntag", "am Sonntag"}};

static const char *const de_names[] = {
    "Anna", "Anton", "Barbara", "Ben", "Bernd", "Birgit", "Carla", "Christian", "Clara", "Daniel", "Dieter",
    "Elena", "Emil", "Emma", "Erik", "Eva", "Felix", "Finn", "Frieda", "Georg", "Greta", "Günther", "Hanna",
    "Hannes", "Heike", "Helga", "Ida", "Ingrid", "Jan", "Jana", "Jonas", "Jörg", "Julia", "Jürgen", "Karin",
    "Karl", "Katrin", "Klaus", "Lars", "Lea", "Lena", "Lina", "Lukas", "Maja", "Marie", "Markus", "Martin",
    "Matthias", "Mia", "Monika", "Moritz", "Nadine", "Nils", "Nora", "Paul", "Petra", "Rainer", "Sabine",
    "Simon", "Stefan", "Sven", "Tanja", "Theo", "Thomas", "Tim", "Ulrike", "Uwe", "Wolfgang", NULL};

static const char *const de_cities[] = {
    "Aachen", "Augsburg", "Bamberg", "Berlin", "Bielefeld", "Bochum", "Bonn", "Bremen", "Chemnitz",
    "Dortmund", "Dresden", "Duisburg", "Düsseldorf", "Erfurt", "Essen", "Flensburg", "Frankfurt",
    "Freiburg", "Gera", "Göttingen", "Hamburg", "Hannover", "Heidelberg", "Jena", "Kassel", "Kiel", "Köln",
    "Leipzig", "Lübeck", "Magdeburg", "Mainz", "Mannheim", "München", "Münster", "Nürnberg", "Oldenburg",
    "Passau", "Potsdam", "Regensburg", "Rostock", "Saarbrücken", "Stuttgart", "Trier", "Ulm", "Weimar",
    "Wuppertal", "Würzburg", "Wien", "Graz", "Linz", "Salzburg", "Innsbruck", "Zürich", "Basel", "Bern",
    "Genf", "Luzern", "Paris", "Rom", "Madrid", "Oslo", "Prag", NULL};

static const char *const de_artists[] = {
    "Silberhafen", "Die Papierfüchse", "Nordlaterne", "Kupfermond", "Die stillen Motoren", "Glaswiese",
    "Nachtgarten", "Hohle Tannen", "Elektrotee", "Die verlorenen Schirme", "Goldrauschen", "Fluss und Rost",
    "Marmorhimmel", "Die Blechspatzen", "Seeallee Neun", "Lila Satelliten", "Winterkarussell",
    "Neonmatrosen", "Holzsterne", "Kristallparade", "Sonntagsmaschinen", "Der blaue Kompass", "Echogarten",
    "Wüstenchor", "Zitronenkönige", "Fallende Karten", "Donnerhütte", "Die Nachtbäcker", "Safranwölfe",
    "Ferne Drachen", "Elfenbeinzug", "Ehrliche Geister", "Wolkenmeer", "Raketensalon", "Grüne Klaviere",
    "Nebelschlucht", "Sieben Leuchttürme", "Brückenlicht", "Tanzende Uhren", "Leise Riesen", NULL};

static const char *const de_restaurants[] = {
    "Blaue Laterne", "Kupferkessel", "Rote Tür", "Ahornstube", "Hungriger Fuchs", "Casa Grün",
    "Silberlöffel", "Salziger Anker", "Feigengarten", "Alte Mühle", "Abendterrasse", "Goldener Besen",
    "Pfeffer und Thymian", "Hafenblick", "Steinofen", "Zitronenbaum", "Weidenhof", "Rostige Gabel",
    "Basilikum Eck", "Steinbrücke", "Eckteller", "Wilde Beere", "Zedernsaal", "Hohe Eiche", "Safranpalast",
    "Mondschein", "Eisenpfanne", "Flusslied", "Tomatengasse", "Gartentor", "Kiefer und Glut", "Samtstuhl",
    "Obsthof", "Klein Neapel", "Wacholder Stube", "Weiße Pflaume", "Bernstein", "Zimtgasse", "Goldener Bär",
    "Grüner Krug", NULL};

static const char *const de_titles[] = {
    "Teamtreffen", "Zahnarzt", "Yogakurs", "Filmabend", "Lesekreis", "Klavierstunde", "Projektbesprechung",
    "Familienessen", "Werkstatt", "Budgetgespräch", "Geburtstagsfeier", "Urlaubsplanung",
    "Vorstellungsgespräch", "Schwimmtraining", "Elternabend", "Workshop Design", "Verkaufsbericht",
    "Gartenarbeit", "Augenarzt", "Vorstandssitzung", "Fußballtraining", "Kaffeepause", "Malkurs",
    "Hausbesichtigung", "Steuerberatung", "Tanzkurs", "Produktvorführung", "Kundengespräch", "Chorprobe",
    "Spieleabend", "Grippeimpfung", "Spanischkurs", "Fototermin", "Mittagessen im Team", "Schachclub",
    "Blutabnahme", "Wochenrunde", "Kochkurs", "Sicherheitsschulung", "Friseur", NULL};

static const char *const de_items[] = {
    "Mittagessen", "Taxi", "Bahnticket", "Hotel", "Parken", "Kaffee", "Bücher", "Druckerpapier", "Blumen",
    "Benzin", "Abendessen", "Frühstück", "Briefmarken", "Software", "Kopfhörer", "Tastatur", "Bürostuhl",
    "Telefon", "Snacks", "Lebensmittel", "Museum", "Busticket", "Stifte", "Porto", "Gutschein",
    "Haarschnitt", "Schuhe", "Medizin", "Batterien", "Regenschirm", NULL};

static const char *const de_products[] = {
    "Hefte", "Bleistifte", "Tassen", "Lampen", "Ordner", "Umschläge", "Flaschen", "Stühle", "Kerzen",
    "Handtücher", "Kissen", "Teller", "Gläser", "Glühbirnen", "Batterien", "Kabel", "Rucksäcke", "Poster",
    "Aufkleber", "Namensschilder", "Tafeln", "Kalender", "Kisten", "Decken", "Körbe", "Spiegel", "Uhren",
    "Tabletts", "Haken", "Schlüssel", NULL};

static const char *const de_texts[] = {
    "Ich komme später", "Ruf mich an", "Bis bald", "Alles Gute", "Ich bin zu Hause", "Das Essen ist fertig",
    "Viel Erfolg", "Danke für alles", "Bin unterwegs", "Bitte Milch kaufen", "Der Zug ist spät",
    "Termin fällt aus", "Gute Reise", "Gute Besserung", "Wo bist du", "Ich habe es", "Gute Nacht",
    "Wir müssen reden", "Gleich da", "Bring den Laptop mit", "Kein Problem", "Gut gemacht",
    "Mach die Tür auf", "Warte auf mich", NULL};

static const synth_phrases de_phrases[SYNTH_N_INTENTS] = {
    [SYNTH_SET_LIGHT] =
        {{"Stell das Licht {inroom} auf {level} Prozent.", "Dimme das Licht {inroom} auf {level} %.",
          "Mach das Licht {inroom} auf {level} Prozent.", "Ich möchte {level} % Licht {inroom}.",
          "Licht {inroom} auf {level} Prozent, bitte.", "Bitte die Lampe {inroom} auf {level} %.",
          "{room}: Licht auf {level} Prozent.",
          "Die Helligkeit {inroom} soll {level} Prozent sein.", "{level} Prozent Licht {inroom}, bitte."},
         {"Kannst du das Licht {inroom} auf {level} Prozent stellen?",
          "Bitte dimme das Licht {inroom} auf {level} Prozent.",
          "Ich hätte gern {level} % Licht {inroom}."},
         {"Okay, Licht {inroom} auf {level} Prozent.", "Das Licht {inroom} ist jetzt auf {level} %.",
          "Erledigt: {level} Prozent Licht {inroom}.", "Gern, die Lampe {inroom} ist auf {level} Prozent."}},
    [SYNTH_SET_HEATING] =
        {{"Stell die Heizung {inroom} auf {degrees} Grad.", "Heize {inroom} auf {degrees} Grad.",
          "Ich möchte {degrees} Grad {inroom}.",
          "Mach es {inroom} {degrees} Grad warm.", "Heizung {inroom} auf {degrees} Grad, bitte.",
          "{room}: {degrees} Grad, bitte.",
          "Es soll {inroom} {degrees} Grad warm sein.", "Dreh die Heizung {inroom} auf {degrees} Grad.",
          "{degrees} Grad {inroom}, bitte."},
         {"Kannst du die Heizung {inroom} auf {degrees} Grad stellen?",
          "Bitte heize {inroom} auf {degrees} Grad.",
          "Ich hätte gern {degrees} Grad {inroom}."},
         {"Okay, Heizung {inroom} auf {degrees} Grad.", "Es wird {inroom} {degrees} Grad warm.",
          "Erledigt: {degrees} Grad {inroom}.",
          "Gern, die Heizung {inroom} ist auf {degrees} Grad."}},
    [SYNTH_PLAY_MUSIC] =
        {{"Spiel {artist}.", "Spiel Musik von {artist}.", "Ich will {artist} hören.",
          "Mach bitte {artist} an.",
          "Starte Lieder von {artist}.", "Lass mich {artist} hören.", "Spiel etwas von {artist}.",
          "Musik von {artist}, bitte.",
          "Kannst du {artist} spielen?"},
         {"Ich möchte gern {artist} hören.", "Bitte spiel Musik von {artist}.",
          "Spiel ein paar Lieder von {artist}."},
         {"Okay, ich spiele {artist}.", "Hier ist Musik von {artist}.", "Jetzt läuft {artist}.",
          "Gern, Lieder von {artist}."},
         {"Such {artist} und spiel es ab.", "Ich habe Lust auf {artist}.",
          "Können wir jetzt {artist} hören?", "Bitte starte {artist}.",
          "Ich würde gern etwas von {artist} hören.", "Spiel die neuen Lieder von {artist}."}},
    [SYNTH_SET_ALARM] =
        {{"Stell den Wecker auf {time}.", "Weck mich um {time}.", "Ich brauche einen Wecker um {time}.",
          "Wecker um {time}, bitte.",
          "Bitte weck mich um {time} Uhr.", "Der Wecker soll um {time} klingeln.",
          "Kannst du einen Wecker für {time} stellen?",
          "Ich muss um {time} aufstehen.", "Mach einen Wecker für {time} Uhr."},
         {"Kannst du mich um {time} wecken?", "Bitte stell den Wecker auf {time} Uhr.",
          "Ich möchte einen Wecker für {time}."},
         {"Okay, Wecker um {time}.", "Ich wecke dich um {time}.", "Der Wecker ist auf {time} gestellt.",
          "Gern, der Wecker klingelt um {time}."}},
    [SYNTH_CREATE_EVENT] =
        {{"Trag {title} {onday} um {time} ein.", "Neuer Termin: {title}, {day}, {time}.",
          "Plane {title} für {day} um {time}.",
          "Ich habe {onday} um {time} {title}.", "Schreib {title} {onday} um {time} in den Kalender.",
          "{day} um {time}: {title}. Bitte eintragen.", "Leg {title} auf {day}, {time}.",
          "{title} ist {onday} um {time}, trag es ein.",
          "Um {time} {onday} habe ich {title}, bitte eintragen."},
         {"Bitte plane {title} {onday} um {time}.", "Bitte trag {title} für {day} um {time} ein.",
          "Setz {title} {onday} um {time} in den Kalender."},
         {"Okay, {title} {onday} um {time}.", "{title} steht {onday} um {time} im Kalender.",
          "Eingetragen: {title}, {day}, {time}.",
          "Gern, {title} ist für {day} um {time} geplant."},
         {"Kannst du {title} für {day} um {time} eintragen?",
          "Bitte notiere {title} {onday} um {time}.", "Plane bitte {title} {onday} um {time}.",
          "Ich möchte {title} {onday} um {time} im Kalender haben.",
          "Bitte plane für {day} um {time} {title}.", "Merk dir {title} {onday} um {time}, bitte."}},
    [SYNTH_SEND_MESSAGE] =
        {{"Sag {to}: {text}.", "Schick {to} eine Nachricht: {text}.", "Schreib an {to}: {text}.",
          "Schreib {to}: {text}.",
          "Nachricht an {to}: {text}.", "Teile {to} mit: {text}.", "Schick \"{text}\" an {to}.",
          "Schreib \"{text}\" an {to}, bitte.",
          "Bitte schreib {to}: {text}."},
         {"Schick eine Nachricht an {to}: {text}.", "Bitte sag {to}: {text}.", "Sende \"{text}\" an {to}."},
         {"Okay, ich sage {to}: {text}.", "Nachricht an {to} gesendet: {text}.",
          "Ich habe {to} geschrieben: {text}.",
          "Gern, \"{text}\" ging an {to}."},
         {"Kannst du {to} sagen: {text}?", "Sende das an {to}: {text}.", "Bitte schick {to}: {text}.",
          "Eine Nachricht für {to}: {text}.", "Bitte sende \"{text}\" an {to}.",
          "Schick das an {to}: {text}."}},
    [SYNTH_FIND_FLIGHT] =
        {{"Such einen Flug von {from} nach {to}.", "Ich will von {from} nach {to} fliegen.",
          "Flüge von {from} nach {to}, bitte.",
          "Zeig mir Flüge von {from} nach {to}.", "Ich brauche einen Flug nach {to} von {from}.",
          "Gibt es einen Flug von {from} nach {to}?",
          "Flug {from} nach {to}, bitte.", "Such einen Flug nach {to}, ab {from}.",
          "Finde Flüge ab {from} nach {to}."},
         {"Kannst du Flüge von {from} nach {to} finden?", "Ich möchte einen Flug von {from} nach {to}.",
          "Bitte such Flüge nach {to} von {from}."},
         {"Okay, Flüge von {from} nach {to}.", "Ich suche einen Flug von {from} nach {to}.",
          "Hier sind Flüge von {from} nach {to}.",
          "Gern, ich prüfe Flüge von {from} nach {to}."},
         {"Kannst du mir Flüge von {from} nach {to} zeigen?",
          "Bitte finde einen Flug nach {to} von {from}.", "Ich suche Flüge von {from} nach {to}."}},
    [SYNTH_BOOK_HOTEL] =
        {{"Buche ein Hotel in {city} für {nights} Nächte.",
          "Ich brauche ein Hotel in {city} für {nights} Nächte.",
          "{nights} Nächte in {city}, bitte ein Hotel buchen.",
          "Reserviere ein Zimmer in {city} für {nights} Nächte.",
          "Such mir ein Hotel in {city}, {nights} Nächte.",
          "Ich bleibe {nights} Nächte in {city}, buche ein Hotel.",
          "Hotel in {city}, {nights} Nächte, bitte.", "Ein Hotelzimmer in {city} für {nights} Nächte.",
          "Bitte buche {nights} Nächte im Hotel in {city}."},
         {"Kannst du ein Hotel in {city} für {nights} Nächte buchen?",
          "Ich möchte ein Hotel in {city} für {nights} Nächte.",
          "Bitte reserviere {nights} Nächte in einem Hotel in {city}."},
         {"Okay, ein Hotel in {city} für {nights} Nächte.",
          "Dein Hotel in {city} ist für {nights} Nächte gebucht.",
          "Erledigt: {nights} Nächte in {city}.", "Gern, {nights} Nächte im Hotel in {city}."},
         {"Kannst du ein Zimmer in {city} für {nights} Nächte finden?",
          "Ich hätte gern {nights} Nächte in einem Hotel in {city}.",
          "Bitte such ein Hotel in {city} für {nights} Nächte."}},
    [SYNTH_BOOK_TABLE] =
        {{"Reserviere einen Tisch im Restaurant {name} für {people} Personen um {time}.",
          "Buche einen Tisch für {people} im Restaurant {name}, {time}.",
          "Einen Tisch im Restaurant {name} um {time} für {people} Personen, bitte.",
          "Wir sind {people} Personen und wollen um {time} im Restaurant {name} essen.",
          "Tisch für {people} im Restaurant {name} um {time}.",
          "Bitte {name}, {people} Personen, {time} Uhr reservieren.",
          "Um {time} brauche ich einen Tisch für {people} im Restaurant {name}.",
          "Reserviere das Restaurant {name} für {people} Personen um {time}.",
          "Essen im Restaurant {name} für {people} Personen um {time}, bitte buchen."},
         {"Kannst du einen Tisch für {people} Personen im Restaurant {name} um {time} buchen?",
          "Ich möchte einen Tisch im Restaurant {name} für {people} um {time}.",
          "Bitte reserviere einen Tisch im Restaurant {name} um {time} für {people} Personen."},
         {"Okay, {name} für {people} Personen um {time}.",
          "Der Tisch im Restaurant {name} ist für {people} um {time} gebucht.",
          "Erledigt: {people} Personen im Restaurant {name}, {time}.",
          "Gern, ein Tisch für {people} im Restaurant {name} um {time}."},
         {"Können wir um {time} im Restaurant {name} essen? Wir sind {people}.",
          "Ich hätte gern einen Tisch im Restaurant {name} um {time} für {people}.",
          "Wir möchten einen Tisch für {people} Personen im Restaurant {name} um {time}.",
          "Bitte buche das Restaurant {name} um {time} für {people} Personen.",
          "Such uns einen Tisch im Restaurant {name} für {people} um {time}."}},
    [SYNTH_CONTACT] =
        {{"Neuer Kontakt: {name}, {city}, {phone}.", "Speichere {name} aus {city}, Telefon {phone}.",
          "{name} wohnt in {city}, Nummer {phone}.",
          "Füge {name} in {city} mit der Nummer {phone} hinzu.",
          "Hier ist {name} aus {city}, mein Telefon ist {phone}.",
          "Die Nummer von {name} in {city} ist {phone}.", "Kontakt {name}, Telefon {phone}, Ort {city}.",
          "Ruf {name} in {city} an: {phone}.", "Notiere {name}, {phone}, aus {city}."},
         {"Speichere den Kontakt {name}, {phone}, aus {city}.",
          "Füge {name} aus {city} hinzu, Nummer {phone}.",
          "{name} in {city} hat die Telefonnummer {phone}."},
         {"Okay, {name} in {city}, Telefon {phone}.", "Gespeichert: {name} aus {city}, {phone}.",
          "{name} aus {city} hat die Nummer {phone}.", "Gern, notiert: {name}, {city}, {phone}."},
         {"Bitte speichere {name} in {city}, Telefonnummer {phone}.",
          "Die Telefonnummer von {name} aus {city} lautet {phone}.",
          "Kannst du {name}, {city}, {phone} notieren?"}},
    [SYNTH_EXPENSE] =
        {{"Ich habe {amount} Euro für {item} ausgegeben.", "Ausgabe: {item}, {amount} Euro.",
          "{amount} Euro für {item}.",
          "Trag {amount} Euro für {item} ein.", "Ich habe {amount} Euro für {item} bezahlt.",
          "Notiere eine Ausgabe: {item} für {amount} Euro.",
          "{item} hat mich {amount} Euro gekostet.", "Bitte notiere {item}, {amount} Euro.",
          "Buche {amount} Euro unter {item}."},
         {"Ich musste {amount} Euro für {item} bezahlen.",
          "Notiere eine Ausgabe von {amount} Euro für {item}.",
          "Bitte trag {item} mit {amount} Euro ein."},
         {"Okay, {amount} Euro für {item}.", "Notiert: {item}, {amount} Euro.",
          "{amount} Euro für {item} sind eingetragen.",
          "Gern, {item} für {amount} Euro."},
         {"Bitte füge {amount} Euro für {item} hinzu.", "Für {item} habe ich {amount} Euro gezahlt.",
          "Kannst du {item} mit {amount} Euro notieren?", "Bitte schreib {item} für {amount} Euro auf."}},
    [SYNTH_ORDER] =
        {{"Bestelle {count} {product}.", "Ich brauche {count} {product}.",
          "Bitte bestelle {count} {product}.", "Wir wollen {count} {product}.",
          "{count} {product}, bitte.", "Kauf {count} {product} für uns.",
          "Kann ich {count} {product} bekommen?", "Schickt uns {count} {product}.",
          "Neue Bestellung: {product}, {count} Stück."},
         {"Ich möchte {count} {product} bestellen.", "Wir müssen {count} {product} kaufen.",
          "Kannst du {count} {product} bestellen?"},
         {"Okay, {count} {product}.", "Deine Bestellung: {count} {product}.",
          "{count} {product} sind bestellt.",
          "Gern, ich bestelle {count} {product}."},
         {"Kannst du uns {count} {product} besorgen?", "Ich will {count} {product} kaufen.",
          "Wir möchten bitte {count} {product}."}},
    [SYNTH_APPOINTMENT] =
        {{"{name} hat {onday} um {time} einen Termin.", "Termin für {name}, {day}, {time}.",
          "Ich bin {name} und kann {onday} um {time} kommen.",
          "Bitte trag {name} für {day} um {time} ein.", "{day} um {time} für {name}, bitte.",
          "Ein Termin {onday} um {time} für {name}.",
          "{name} kommt {onday} um {time}.", "Um {time} {onday}: {name}.",
          "Gib {name} einen Platz {onday} um {time}."},
         {"Mach einen Termin für {name} {onday} um {time}.", "{name} wird {onday} um {time} kommen.",
          "Bitte notiere {name} für {day}, {time}."},
         {"Okay, {name} {onday} um {time}.", "Notiert: {name}, {day}, {time}.",
          "{name} hat {onday} um {time} einen Termin.",
          "Gern, {name} ist für {day} um {time} eingetragen."},
         {"Kannst du {name} {onday} um {time} eintragen?", "{name} möchte {onday} um {time} kommen.",
          "Bitte buche {name} {onday} um {time}."}},
    [SYNTH_TRIP] =
        {{"Eine Reise von {from} nach {to} für {nights} Nächte.",
          "Ich reise von {from} nach {to} und bleibe {nights} Nächte.",
          "Wir fahren von {from} nach {to}, {nights} Nächte.", "{nights} Nächte in {to}, Start in {from}.",
          "Plane eine Reise von {from} nach {to}, {nights} Nächte.",
          "Von {from} nach {to} für {nights} Nächte, bitte.",
          "Reiseantrag: {from} nach {to}, {nights} Nächte.",
          "Ich fahre ab {from} nach {to} und bleibe {nights} Nächte.",
          "Es geht nach {to} von {from}, {nights} Nächte."},
         {"Ich möchte von {from} nach {to} reisen, {nights} Nächte.",
          "Notiere eine Reise von {from} nach {to}, {nights} Nächte.",
          "Wir reisen nach {to} von {from} für {nights} Nächte."},
         {"Okay, von {from} nach {to} für {nights} Nächte.",
          "Deine Reise: {from} nach {to}, {nights} Nächte.",
          "{nights} Nächte in {to}, ab {from}.", "Gern, eine Reise von {from} nach {to}, {nights} Nächte."},
         {"Ich möchte für {nights} Nächte von {from} nach {to}.",
          "Bitte notiere unsere Reise nach {to} von {from}, {nights} Nächte.",
          "Wir wollen von {from} nach {to} reisen und {nights} Nächte bleiben."}},
    [SYNTH_PERSON] =
        {{"{name} ist {age} und wohnt in {city}.", "Ich heiße {name}, bin {age} und komme aus {city}.",
          "{name}, {age}, aus {city}.",
          "{name} aus {city} ist {age} Jahre alt.", "Das ist {name}, {age} Jahre alt, aus {city}.",
          "Ich bin {name}, {age}, und wohne in {city}.",
          "In {city} wohnt {name}, {age} Jahre alt.", "{name} lebt in {city} und ist {age} Jahre alt.",
          "Person: {name}, Alter {age}, Ort {city}."},
         {"Ich wohne in {city}, heiße {name} und bin {age}.",
          "{name} ist {age} Jahre alt und kommt aus {city}.",
          "Hier ist {name} aus {city}, {age} Jahre alt."},
         {"Okay, {name}, {age}, aus {city}.", "{name} ist {age} und wohnt in {city}.",
          "Notiert: {name} aus {city}, {age} Jahre alt.",
          "Gern, {name} in {city} ist {age}."},
         {"Ich komme aus {city}, bin {name} und {age} Jahre alt.",
          "Mein Freund {name} aus {city} ist {age}.",
          "Ich bin {age}, heiße {name} und wohne in {city}."}},
    [SYNTH_SET_TIMER] =
        {{"Stell einen Timer auf {minutes} Minuten.", "Starte einen Timer, {minutes} Minuten.",
          "Timer für {minutes} Minuten, bitte.",
          "Erinnere mich in {minutes} Minuten.", "Zähl {minutes} Minuten herunter."},
         {NULL},
         {"Okay, Timer für {minutes} Minuten.", "Dein Timer läuft {minutes} Minuten.",
          "{minutes} Minuten, ab jetzt."}},
    [SYNTH_GET_WEATHER] =
        {{"Wie wird das Wetter {onday} in {city}?", "Wetter für {city}, {day}, bitte.",
          "Regnet es {onday} in {city}?",
          "Sag mir das Wetter {onday} in {city}.", "Ich möchte die Vorhersage für {city} {onday}."},
         {NULL},
         {"Ich prüfe das Wetter in {city} {onday}.", "Die Vorhersage für {city} {onday} kommt.",
          "Okay, Wetter in {city}, {day}."}},
};

static const char *const de_open[] = {
    "Hallo! ", "Hi. ", "Guten Morgen. ", "Kurze Bitte: ", "Hör zu: ", "Eine Sache: ", NULL};
static const char *const de_open_held[] = {"Guten Abend. ", "Hallo du! ", "Eine Bitte: ", NULL};

static const synth_pair de_chat[] = {
    {"Hallo!", "Hallo! Wie kann ich helfen?"},
    {"Vielen Dank.", "Gern geschehen."},
    {"Wie geht es dir?", "Mir geht es gut, danke."},
    {"Erzähl mir einen Witz.", "Ich helfe lieber, als Witze zu erzählen."},
    {"Wie heißt du?", "Ich bin dein Assistent."},
    {"Wer hat dieses Buch geschrieben?", "Das weiß ich leider nicht."},
    {"Mir ist langweilig.", "Vielleicht hilft ein kurzer Spaziergang."},
    {"Gute Nacht.", "Gute Nacht, schlaf gut."},
    {"Magst du Katzen?", "Katzen sind tolle Tiere."},
    {"Was ist der Sinn des Lebens?", "Das ist eine große Frage."},
    {"Kannst du kochen?", "Nein, aber ich helfe beim Planen."},
    {"Das war super!", "Schön, dass es dir gefallen hat."},
    {NULL, NULL}};

static const char *const de_keys[] = {
    "Name", "Ort", "Telefon", "Straße", "Farbe", "Code", "Artikel", "Tier", "Tag", "Zeit", "Preis", "Kunde",
    "Titel", NULL};
static const char *const de_ask[] = {
    "Was steht bei {key}?", "Nenne mir: {key}.", "Wie lautet der Eintrag {key}?", "{key}?", NULL};
static const char *const de_repeat[] = {
    "Wiederhole: {items}", "Sag das noch einmal: {items}", "Schreib ab: {items}", NULL};
static const char *const de_list[] = {"Eins pro Zeile: {items}", "Mach eine Liste: {items}", NULL};
static const char *const de_syllables[] = {
    "ba", "ben", "burg", "chen", "da", "dorf", "ei", "feld", "gar", "grü", "hau", "heim", "in", "ka", "kö",
    "lan", "lü", "mar", "mün", "na", "nor", "pfe", "rai", "ro", "sa", "schu", "stein", "ta", "ter", "tü",
    "un", "wal", "wei", "zau", "zim", "löh", NULL};

const synth_lang synth_de = {
    .locale = "de-DE", .rooms = de_rooms, .days = de_days,
    .pools = {de_names, de_cities, de_artists, de_restaurants, de_titles, de_items, de_products, de_texts},
    .phrases = de_phrases, .open = de_open, .open_held = de_open_held, .chat = de_chat,
    .keys = de_keys, .ask = de_ask, .repeat = de_repeat, .list = de_list,
    .syllables = de_syllables, .comma = ", ", .swap = NULL};
