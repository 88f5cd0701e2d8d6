/*
 * French. Artists and restaurants are invented; cities, names and titles begin with a consonant where a
 * phrasing has "de" before them, so that nothing needs eliding. The form of the tables is explained in
 * synth_tables.h.
 */
#include "synth_tables.h"

static const synth_room fr_rooms[SYNTH_N_ROOMS] = {
    {"cuisine", "dans la cuisine", "de la cuisine"}, {"chambre", "dans la chambre", "de la chambre"},
    {"salle de bain", "dans la salle de bain", "de la salle de bain"},
    {"salon", "dans le salon", "du salon"}, {"bureau", "dans le bureau", "du bureau"},
    {"couloir", "dans le couloir", "du couloir"}};

static const synth_day fr_days[SYNTH_N_DAYS] = {
    {"lundi", "lundi"}, {"mardi", "mardi"}, {"mercredi", "mercredi"}, {"jeudi", "jeudi"},
    {"vendredi", "vendredi"}, {"samedi", "samedi"}, {"dimanche", "dimanche"}};

static const char *const fr_names[] = {
    "Baptiste", "Béatrice", "Bernard", "Camille", "Caroline", "Catherine", "Cécile", "Céline", "Chantal",
    "Charlotte", "Chloé", "Christophe", "Claire", "Clément", "Damien", "Daniel", "David", "Denis", "Fabien",
    "Fanny", "Florence", "François", "Françoise", "Frédéric", "Gabriel", "Gaëlle", "Georges", "Gérard",
    "Guillaume", "Jacques", "Jean", "Jérôme", "Julie", "Julien", "Juliette", "Karim", "Laurent", "Léa",
    "Léo", "Louis", "Louise", "Lucas", "Lucie", "Manon", "Marc", "Margaux", "Marie", "Martine", "Mathieu",
    "Mathilde", "Maxime", "Michel", "Monique", "Nadia", "Nathalie", "Nicolas", "Noémie", "Pascal",
    "Patrick", "Paul", "Pauline", "Philippe", "Pierre", "René", "Romain", "Sandrine", "Sébastien", "Sophie",
    "Stéphane", "Sylvie", "Théo", "Thomas", "Valérie", "Victor", "Vincent", "Zoé", NULL};

static const char *const fr_cities[] = {
    "Bayonne", "Beauvais", "Besançon", "Biarritz", "Blois", "Bordeaux", "Boulogne", "Bourges", "Brest",
    "Caen", "Calais", "Cannes", "Carcassonne", "Chambéry", "Chartres", "Cherbourg", "Clermont", "Colmar",
    "Dieppe", "Dijon", "Dunkerque", "Fréjus", "Gap", "Grenoble", "Laval", "Lens", "Lille", "Limoges",
    "Lorient", "Lourdes", "Lyon", "Marseille", "Metz", "Montpellier", "Mulhouse", "Nancy", "Nantes",
    "Narbonne", "Nice", "Nîmes", "Niort", "Paris", "Pau", "Perpignan", "Poitiers", "Quimper", "Reims",
    "Rennes", "Rouen", "Saint-Malo", "Strasbourg", "Tarbes", "Toulon", "Toulouse", "Tours", "Troyes",
    "Valence", "Vannes", "Vichy", "Bruxelles", "Liège", "Genève", "Lausanne", "Montréal", "Québec",
    "Madrid", "Rome", "Berlin", "Londres", "Lisbonne", NULL};

static const char *const fr_artists[] = {
    "Port Argenté", "Les Renards de Papier", "Comète Velours", "Lanternes du Nord", "Lune de Cuivre",
    "Les Moteurs Calmes", "Prairie de Verre", "Verger de Minuit", "Pins Creux", "Thé Électrique",
    "Les Parapluies Perdus", "Bruit Doré", "Rivière et Rouille", "Ciels de Marbre", "Les Moineaux de Fer",
    "Boulevard Neuf", "Satellites Violets", "Les Fusées Lentes", "Manège Blanc", "Marins Néon",
    "Les Bougies de Bois", "Parade de Cristal", "Machines du Dimanche", "La Boussole Bleue",
    "Jardin des Échos", "Chœur du Désert", "Les Rois Citron", "Cartes Tombantes", "Cabane Tonnerre",
    "Les Boulangers Noirs", "Loups Safran", "Cerfs Volants", "Trains de Nacre", "Fantômes Sincères",
    "Mer de Nuages", "Salon Fusée", "Pianos Verts", "Canyon Brumeux", "Sept Phares", "Pont Lumière", NULL};

static const char *const fr_restaurants[] = {
    "La Lanterne Bleue", "Le Pot de Cuivre", "La Porte Rouge", "La Table Fine", "Le Renard Gourmand",
    "Casa Verte", "La Cuillère Dorée", "Le Phare Salé", "Le Figuier", "Le Vieux Moulin",
    "La Terrasse du Soir", "Le Fouet Malin", "Poivre et Thym", "La Vue du Port", "Le Four de Pierre",
    "Le Citronnier", "La Chambre du Saule", "La Fourchette", "Le Coin Basilic", "Le Pont de Pierre",
    "La Petite Assiette", "La Baie Sauvage", "Le Cèdre", "Le Grand Chêne", "Le Palais Safran",
    "Clair de Lune", "La Poêle de Fer", "Chanson du Fleuve", "La Rue des Tomates", "La Perle Bleue",
    "Le Portail", "Pin et Braise", "La Chaise Velours", "Le Rang du Verger", "Petit Naples", "Le Genévrier",
    "La Prune Blanche", "Le Bistrot Doux", "La Cannelle", "Le Tilleul", NULL};

static const char *const fr_titles[] = {
    "Réunion de projet", "Dentiste", "Cours de yoga", "Soirée cinéma", "Club de lecture", "Leçon de piano",
    "Bilan du mois", "Dîner de famille", "Garage", "Point budget", "Grande fête",
    "Préparation des vacances", "Entretien", "Natation", "Réunion parents", "Atelier design",
    "Rapport des ventes", "Jardinage", "Ophtalmo", "Conseil", "Football", "Pause café", "Cours de dessin",
    "Visite de maison", "Comptable", "Cours de danse", "Démonstration", "Rendez-vous client", "Chorale",
    "Soirée jeux", "Vaccin", "Cours de russe", "Séance photo", "Déjeuner de groupe", "Club de golf",
    "Prise de sang", "Point hebdo", "Cours de cuisine", "Formation sécurité", "Coiffeur", NULL};

static const char *const fr_items[] = {
    "déjeuner", "taxi", "billet de train", "hôtel", "parking", "café", "livres", "papier", "fleurs",
    "carburant", "dîner", "petit déjeuner", "timbres", "logiciel", "casque audio", "clavier", "chaise",
    "téléphone", "goûter", "courses", "musée", "ticket de bus", "stylos", "colis", "cadeau", "coiffeur",
    "chaussures", "pharmacie", "piles", "parapluie", NULL};

static const char *const fr_products[] = {
    "cahiers", "crayons", "tasses", "lampes", "classeurs", "enveloppes", "bouteilles", "chaises", "bougies",
    "serviettes", "coussins", "plats", "verres", "ampoules", "piles", "câbles", "sacs", "affiches",
    "autocollants", "badges", "tableaux", "marqueurs", "calendriers", "cartons", "couvertures", "paniers",
    "miroirs", "horloges", "plateaux", "crochets", NULL};

static const char *const fr_texts[] = {
    "Je suis en retard", "Rappelle-moi", "À bientôt", "Bon anniversaire", "Je suis rentré",
    "Le repas est prêt", "Bonne chance", "Merci pour tout", "En route", "Achète du lait",
    "Le train est bloqué", "Réunion annulée", "Bon voyage", "Repose-toi bien", "Tu es où", "Je l'ai trouvé",
    "Bonne nuit", "Il faut parler", "Presque là", "Apporte ton ordinateur", "Pas de problème", "Bien joué",
    "Ouvre la porte", "Attends-moi", NULL};

static const synth_phrases fr_phrases[SYNTH_N_INTENTS] = {
    [SYNTH_SET_LIGHT] =
        {{"Mets la lumière {ofroom} à {level} %.", "Baisse la lumière {inroom} à {level} %.",
          "Règle la lampe {ofroom} sur {level} %.",
          "Je veux {level} % de lumière {inroom}.", "Lumière {ofroom} à {level} %, s'il te plaît.",
          "La lampe {ofroom} à {level} %.",
          "Passe l'éclairage {ofroom} à {level} %.", "{level} % de lumière {inroom}, merci.",
          "Change la luminosité {inroom} : {level} %."},
         {"Peux-tu mettre la lumière {ofroom} à {level} % ?",
          "Règle la lumière {inroom} à {level} %, s'il te plaît.",
          "Je voudrais la lumière {ofroom} à {level} %."},
         {"D'accord, lumière {ofroom} à {level} %.", "La lumière {inroom} est à {level} %.",
          "C'est fait : {level} % de lumière {inroom}.",
          "Bien sûr, la lampe {ofroom} est à {level} %."}},
    [SYNTH_SET_HEATING] =
        {{"Mets le chauffage {ofroom} à {degrees} degrés.", "Je veux {degrees} degrés {inroom}.",
          "Règle le chauffage {inroom} sur {degrees} degrés.",
          "Chauffe à {degrees} degrés {inroom}.", "Il faut {degrees} degrés {inroom}.",
          "Chauffage {ofroom} à {degrees} degrés, merci.",
          "Monte le chauffage {ofroom} à {degrees} degrés.", "{degrees} degrés {inroom}, s'il te plaît.",
          "Le thermostat {ofroom} à {degrees} degrés."},
         {"Peux-tu mettre le chauffage {ofroom} à {degrees} degrés ?",
          "Je voudrais {degrees} degrés {inroom}.",
          "Règle le thermostat {ofroom} sur {degrees} degrés."},
         {"D'accord, chauffage {ofroom} à {degrees} degrés.", "Il fera {degrees} degrés {inroom}.",
          "C'est fait : {degrees} degrés {inroom}.",
          "Bien sûr, le thermostat {ofroom} est à {degrees} degrés."}},
    [SYNTH_PLAY_MUSIC] =
        {{"Mets {artist}.", "Joue la musique de {artist}.", "Je veux écouter {artist}.",
          "Lance {artist}, s'il te plaît.",
          "Mets des chansons de {artist}.", "Fais-moi écouter {artist}.", "Joue quelque chose de {artist}.",
          "La musique de {artist}, merci.", "Tu peux mettre {artist} ?"},
         {"Je voudrais écouter {artist}.", "Peux-tu jouer la musique de {artist} ?",
          "Lance des chansons de {artist}."},
         {"D'accord, voici {artist}.", "Voici la musique de {artist}.", "Lecture de {artist}.",
          "Bien sûr, des chansons de {artist}."},
         {"Trouve {artist} et mets-le.", "J'ai envie de {artist}.",
          "On peut écouter {artist} maintenant ?", "J'aimerais entendre {artist}.",
          "Peux-tu lancer {artist} ?", "Mets les nouvelles chansons de {artist}."}},
    [SYNTH_SET_ALARM] =
        {{"Mets un réveil à {time}.", "Réveille-moi à {time}.", "J'ai besoin d'un réveil à {time}.",
          "Réveil à {time}, s'il te plaît.",
          "Il faut me réveiller à {time}.", "Règle mon réveil sur {time}.",
          "Tu peux mettre un réveil à {time} ?", "Je dois me lever à {time}.",
          "Fais sonner le réveil à {time}."},
         {"Peux-tu me réveiller à {time} ?", "Règle le réveil à {time}, s'il te plaît.",
          "Je voudrais un réveil à {time}."},
         {"D'accord, réveil à {time}.", "Je te réveille à {time}.", "Ton réveil est réglé sur {time}.",
          "Bien sûr, le réveil sonnera à {time}."}},
    [SYNTH_CREATE_EVENT] =
        {{"Ajoute {title} {onday} à {time}.", "Mets {title} dans mon agenda {onday} à {time}.",
          "Prévois {title} pour {day} à {time}.",
          "Nouvel événement : {title}, {day}, {time}.", "J'ai {title} {onday} à {time}.",
          "Planifie {title} {onday}, {time}.",
          "{day} à {time} : {title}. Ajoute-le.", "Crée l'événement {title} {onday} à {time}.",
          "À {time} {onday} j'ai {title}, note-le."},
         {"Peux-tu ajouter {title} {onday} à {time} ?", "Mets {title} {onday} à {time} dans l'agenda.",
          "Planifie {title} pour {day} à {time}, s'il te plaît."},
         {"D'accord, {title} {onday} à {time}.", "{title} est dans ton agenda {onday} à {time}.",
          "Ajouté : {title}, {day}, {time}.",
          "Bien sûr, {title} est prévu {onday} à {time}."},
         {"Tu peux noter {title} {onday} à {time} ?",
          "Peux-tu inscrire {title} pour {day} à {time} ?",
          "Il faut ajouter {title} {onday} à {time}.",
          "Je voudrais {title} {onday} à {time} dans mon agenda.",
          "Pense à {title} {onday} à {time}.", "Peux-tu mettre {title} {onday} à {time} ?"}},
    [SYNTH_SEND_MESSAGE] =
        {{"Dis à {to} : {text}.", "Envoie un message à {to} : {text}.", "Écris à {to} : {text}.",
          "Message pour {to} : {text}.",
          "Préviens {to} : {text}.", "Envoie « {text} » à {to}.", "Écris « {text} » à {to}, s'il te plaît.",
          "Fais savoir à {to} : {text}.",
          "Transmets à {to} : {text}."},
         {"Envoie à {to} ce message : {text}.", "Peux-tu dire à {to} : {text} ?", "Dis « {text} » à {to}."},
         {"D'accord, je dis à {to} : {text}.", "Message envoyé à {to} : {text}.",
          "J'ai écrit à {to} : {text}.",
          "Bien sûr, « {text} » est parti pour {to}."},
         {"Envoie ceci à {to} : {text}.", "Merci de dire à {to} : {text}.",
          "Un message pour {to} : {text}.", "Peux-tu envoyer « {text} » à {to} ?"}},
    [SYNTH_FIND_FLIGHT] =
        {{"Cherche un vol de {from} à {to}.", "Je veux voler de {from} à {to}.",
          "Vols de {from} à {to}, s'il te plaît.",
          "Montre-moi les vols de {from} à {to}.", "J'ai besoin d'un vol pour {to} depuis {from}.",
          "Un avion de {from} à {to}, merci.",
          "Il y a un vol de {from} à {to} ?", "Cherche un vol pour {to} au départ de {from}.",
          "Trouve les vols {from} vers {to}."},
         {"Peux-tu trouver un vol de {from} à {to} ?", "Je voudrais un vol de {from} à {to}.",
          "Cherche les vols pour {to} depuis {from}."},
         {"D'accord, vols de {from} à {to}.", "Je cherche un vol de {from} à {to}.",
          "Voici les vols de {from} à {to}.",
          "Bien sûr, je regarde les vols de {from} à {to}."},
         {"Peux-tu montrer les vols de {from} à {to} ?", "Je cherche un vol pour {to} depuis {from}.",
          "J'aimerais des vols de {from} à {to}."}},
    [SYNTH_BOOK_HOTEL] =
        {{"Réserve un hôtel à {city} pour {nights} nuits.",
          "J'ai besoin d'un hôtel à {city} pour {nights} nuits.",
          "{nights} nuits à {city}, réserve un hôtel.", "Réserve une chambre à {city} pour {nights} nuits.",
          "Trouve-moi un hôtel à {city}, {nights} nuits.",
          "Je reste {nights} nuits à {city}, réserve un hôtel.",
          "Hôtel à {city}, {nights} nuits, merci.", "Une chambre à {city} pour {nights} nuits.",
          "Il me faut {nights} nuits dans un hôtel à {city}."},
         {"Peux-tu réserver un hôtel à {city} pour {nights} nuits ?",
          "Je voudrais un hôtel à {city} pour {nights} nuits.",
          "Réserve {nights} nuits à l'hôtel à {city}."},
         {"D'accord, un hôtel à {city} pour {nights} nuits.",
          "Ton hôtel à {city} est réservé pour {nights} nuits.",
          "C'est fait : {nights} nuits à {city}.", "Bien sûr, {nights} nuits à l'hôtel à {city}."},
         {"Peux-tu trouver un hôtel à {city} pour {nights} nuits ?",
          "J'aimerais {nights} nuits dans un hôtel à {city}.",
          "Trouve une chambre à {city} pour {nights} nuits."}},
    [SYNTH_BOOK_TABLE] =
        {{"Réserve une table au restaurant {name} pour {people} personnes à {time}.",
          "Une table pour {people} au restaurant {name}, {time}.",
          "Une table chez {name} à {time} pour {people} personnes, merci.",
          "Nous sommes {people} et voulons manger chez {name} à {time}.",
          "Table pour {people} chez {name} à {time}.", "Réserve chez {name}, {people} personnes, {time}.",
          "À {time} il me faut une table pour {people} chez {name}.",
          "Prends une table au restaurant {name} pour {people} à {time}.",
          "Dîner chez {name} pour {people} personnes à {time}, réserve."},
         {"Peux-tu réserver une table pour {people} personnes chez {name} à {time} ?",
          "Je voudrais une table chez {name} pour {people} à {time}.",
          "Réserve une table chez {name} à {time} pour {people} personnes."},
         {"D'accord, {name} pour {people} personnes à {time}.",
          "Ta table chez {name} est réservée pour {people} à {time}.",
          "C'est fait : {people} personnes chez {name}, {time}.",
          "Bien sûr, une table pour {people} chez {name} à {time}."},
         {"Peut-on manger chez {name} à {time} ? Nous sommes {people}.",
          "J'aimerais une table chez {name} à {time} pour {people}.",
          "Nous voulons une table pour {people} personnes chez {name} à {time}.",
          "Merci de réserver chez {name} à {time}, nous sommes {people}.",
          "Trouve-nous une table chez {name} pour {people} à {time}."}},
    [SYNTH_CONTACT] =
        {{"Nouveau contact : {name}, {city}, {phone}.", "Enregistre {name} de {city}, téléphone {phone}.",
          "{name} habite à {city}, numéro {phone}.",
          "Ajoute {name} à {city} avec le numéro {phone}.",
          "Ici {name} de {city}, mon téléphone est le {phone}.",
          "Le numéro de {name} à {city} est le {phone}.", "Contact {name}, téléphone {phone}, ville {city}.",
          "Appelle {name} à {city} au {phone}.", "Note {name}, {phone}, de {city}."},
         {"Enregistre le contact {name}, {phone}, de {city}.", "Ajoute {name} de {city}, numéro {phone}.",
          "{name} à {city} a le numéro de téléphone {phone}."},
         {"D'accord, {name} à {city}, téléphone {phone}.", "Enregistré : {name} de {city}, {phone}.",
          "{name} de {city} a le numéro {phone}.",
          "Bien sûr, c'est noté : {name}, {city}, {phone}."},
         {"Peux-tu noter {name}, {city}, {phone} ?",
          "Le numéro de téléphone de {name} à {city} est le {phone}.",
          "Garde {name} de {city}, téléphone {phone}."}},
    [SYNTH_EXPENSE] =
        {{"Dépense : {item}, {amount} euros.", "J'ai dépensé {amount} euros : {item}.",
          "{amount} euros pour « {item} ».",
          "Ajoute {amount} euros pour « {item} ».", "J'ai payé {amount} euros, {item}.",
          "Note une dépense : {item}, {amount} euros.",
          "Frais de {amount} euros : {item}.", "Enregistre {item}, {amount} euros.",
          "Mets {amount} euros sous « {item} »."},
         {"J'ai dû payer {amount} euros pour « {item} ».", "Note {amount} euros de dépense : {item}.",
          "Enregistre une dépense, {item}, {amount} euros."},
         {"D'accord, {amount} euros pour « {item} ».", "Noté : {item}, {amount} euros.",
          "C'est enregistré : {amount} euros, {item}.",
          "Bien sûr, {item} : {amount} euros."},
         {"Peux-tu ajouter {amount} euros pour {item} ?", "Pour {item}, j'ai donné {amount} euros.",
          "Écris une dépense de {amount} euros, {item}.", "Enregistre {amount} euros pour {item}.",
          "J'ai eu {amount} euros de frais : {item}."}},
    [SYNTH_ORDER] =
        {{"Commande {count} {product}.", "J'ai besoin de {count} {product}.",
          "Il nous faut {count} {product}.", "Nous voulons {count} {product}.",
          "{count} {product}, s'il te plaît.", "Achète {count} {product} pour nous.",
          "Je peux avoir {count} {product} ?",
          "Envoyez-nous {count} {product}.", "Nouvelle commande : {product}, {count} pièces."},
         {"Je voudrais commander {count} {product}.", "Nous devons acheter {count} {product}.",
          "Peux-tu commander {count} {product} ?"},
         {"D'accord, {count} {product}.", "Ta commande : {count} {product}.",
          "{count} {product}, c'est commandé.",
          "Bien sûr, je commande {count} {product}."},
         {"Peux-tu nous trouver {count} {product} ?", "Je veux acheter {count} {product}.",
          "Nous aimerions {count} {product}."}},
    [SYNTH_APPOINTMENT] =
        {{"{name} a rendez-vous {onday} à {time}.", "Rendez-vous pour {name}, {day}, {time}.",
          "Je suis {name} et je peux venir {onday} à {time}.",
          "Inscris {name} pour {day} à {time}.", "{day} à {time} pour {name}, merci.",
          "Un rendez-vous {onday} à {time} pour {name}.",
          "{name} vient {onday} à {time}.", "À {time} {onday} : {name}.",
          "Donne une place à {name} {onday} à {time}."},
         {"Prends un rendez-vous pour {name} {onday} à {time}.", "{name} viendra {onday} à {time}.",
          "Note {name} pour {day}, {time}."},
         {"D'accord, {name} {onday} à {time}.", "Noté : {name}, {day}, {time}.",
          "{name} a rendez-vous {onday} à {time}.",
          "Bien sûr, {name} : place prise {onday} à {time}."},
         {"Peux-tu inscrire {name} {onday} à {time} ?", "{name} voudrait venir {onday} à {time}.",
          "Réserve {onday} à {time} pour {name}."}},
    [SYNTH_TRIP] =
        {{"Un voyage de {from} à {to} pour {nights} nuits.",
          "Je vais de {from} à {to} et je reste {nights} nuits.",
          "Nous allons de {from} à {to}, {nights} nuits.", "{nights} nuits à {to}, départ de {from}.",
          "Prévois un voyage de {from} à {to}, {nights} nuits.",
          "De {from} à {to} pour {nights} nuits, merci.",
          "Demande de voyage : {from} vers {to}, {nights} nuits.",
          "Je pars de {from} pour {to} et je reste {nights} nuits.",
          "On va à {to} depuis {from}, {nights} nuits."},
         {"Je veux voyager de {from} à {to} pour {nights} nuits.",
          "Note un voyage de {from} à {to}, {nights} nuits.",
          "Nous partons à {to} depuis {from} pour {nights} nuits."},
         {"D'accord, de {from} à {to} pour {nights} nuits.", "Ton voyage : {from} vers {to}, {nights} nuits.",
          "{nights} nuits à {to}, depuis {from}.", "Bien sûr, un voyage de {from} à {to}, {nights} nuits."},
         {"J'aimerais aller de {from} à {to} pour {nights} nuits.",
          "Inscris notre voyage de {from} à {to}, {nights} nuits.",
          "Nous voulons partir de {from} pour {to}, {nights} nuits."}},
    [SYNTH_PERSON] =
        {{"{name} a {age} ans et habite à {city}.",
          "Je m'appelle {name}, j'ai {age} ans et je viens de {city}.", "{name}, {age} ans, de {city}.",
          "{name} de {city} a {age} ans.", "Voici {name}, {age} ans, de {city}.",
          "Je suis {name}, {age} ans, et j'habite à {city}.",
          "À {city} habite {name}, {age} ans.", "{name} vit à {city} et a {age} ans.",
          "Personne : {name}, âge {age}, ville {city}."},
         {"J'habite à {city}, je m'appelle {name} et j'ai {age} ans.",
          "{name} a {age} ans et vient de {city}.",
          "C'est {name} de {city}, {age} ans."},
         {"D'accord, {name}, {age} ans, de {city}.", "{name} a {age} ans et habite à {city}.",
          "Noté : {name} de {city}, {age} ans.",
          "Bien sûr, {name} à {city} a {age} ans."},
         {"Je viens de {city}, je suis {name} et j'ai {age} ans.",
          "Mon amie {name} de {city} a {age} ans.",
          "J'ai {age} ans, je m'appelle {name} et j'habite à {city}."}},
    [SYNTH_SET_TIMER] =
        {{"Mets un minuteur de {minutes} minutes.", "Lance un minuteur, {minutes} minutes.",
          "Minuteur de {minutes} minutes, merci.",
          "Préviens-moi dans {minutes} minutes.", "Compte {minutes} minutes."},
         {NULL},
         {"D'accord, minuteur de {minutes} minutes.", "Le minuteur tourne pour {minutes} minutes.",
          "{minutes} minutes, c'est parti."}},
    [SYNTH_GET_WEATHER] =
        {{"Quel temps fera-t-il à {city} {onday} ?", "Météo de {city}, {day}, merci.",
          "Il va pleuvoir à {city} {onday} ?",
          "Dis-moi le temps {onday} à {city}.", "Je veux la météo de {city} pour {day}."},
         {NULL},
         {"Je regarde la météo de {city} pour {day}.", "La météo à {city} {onday} arrive.",
          "D'accord, météo : {city}, {day}."}},
};

static const char *const fr_open[] = {
    "Bonjour ! ", "Salut. ", "Coucou. ", "Petite demande : ", "Dis-moi. ", "Une chose : ", NULL};
static const char *const fr_open_held[] = {"Bonsoir. ", "Bonjour à toi. ", "Une demande : ", NULL};

static const synth_pair fr_chat[] = {
    {"Bonjour !", "Bonjour ! Comment puis-je aider ?"},
    {"Merci beaucoup.", "Avec plaisir."},
    {"Comment vas-tu ?", "Je vais bien, merci."},
    {"Raconte-moi une blague.", "Je préfère aider que raconter des blagues."},
    {"Comment t'appelles-tu ?", "Je suis ton assistant."},
    {"Qui a écrit ce livre ?", "Je ne le sais pas, désolé."},
    {"Je m'ennuie.", "Une petite promenade ferait du bien."},
    {"Bonne nuit.", "Bonne nuit, dors bien."},
    {"Tu aimes les chats ?", "Les chats sont de beaux animaux."},
    {"Quel est le sens de la vie ?", "C'est une grande question."},
    {"Sais-tu cuisiner ?", "Non, mais je peux aider à planifier."},
    {"C'était super !", "Je suis content que ça te plaise."},
    {NULL, NULL}};

static const char *const fr_keys[] = {
    "nom", "ville", "téléphone", "rue", "couleur", "code", "article", "animal", "jour", "heure", "prix",
    "client", "titre", NULL};
static const char *const fr_ask[] = {
    "Que dit le champ {key} ?", "Donne-moi : {key}.", "Quelle valeur pour {key} ?", "{key} ?", NULL};
static const char *const fr_repeat[] = {"Répète : {items}", "Redis ceci : {items}", "Copie : {items}", NULL};
static const char *const fr_list[] = {"Un par ligne : {items}", "Fais une liste : {items}", NULL};
static const char *const fr_syllables[] = {
    "ba", "beau", "bre", "ca", "ché", "com", "cou", "dé", "dou", "fé", "fleu", "ga", "gne", "guè", "jou",
    "lan", "lé", "li", "mar", "mon", "na", "né", "bon", "pê", "que", "ren", "ro", "sau", "si", "ta", "teau",
    "tou", "va", "vre", "ya", "gar", NULL};

const synth_lang synth_fr = {
    .locale = "fr-FR", .rooms = fr_rooms, .days = fr_days,
    .pools = {fr_names, fr_cities, fr_artists, fr_restaurants, fr_titles, fr_items, fr_products, fr_texts},
    .phrases = fr_phrases, .open = fr_open, .open_held = fr_open_held, .chat = fr_chat,
    .keys = fr_keys, .ask = fr_ask, .repeat = fr_repeat, .list = fr_list,
    .syllables = fr_syllables, .comma = ", ", .swap = NULL};
