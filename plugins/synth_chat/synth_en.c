/*
 * English, American and British: one set of phrasings; what British English spells or calls otherwise is in
 * en_gb_swap. Artists and restaurants are invented. The form of the tables is explained in synth_tables.h.
 */
#include "synth_tables.h"

static const synth_room en_rooms[SYNTH_N_ROOMS] = {
    {"kitchen", "in the kitchen", "of the kitchen"}, {"bedroom", "in the bedroom", "of the bedroom"},
    {"bathroom", "in the bathroom", "of the bathroom"},
    {"living room", "in the living room", "of the living room"},
    {"office", "in the office", "of the office"}, {"hallway", "in the hallway", "of the hallway"}};

static const synth_day en_days[SYNTH_N_DAYS] = {
    {"Monday", "on Monday"}, {"Tuesday", "on Tuesday"}, {"Wednesday", "on Wednesday"},
    {"Thursday", "on Thursday"}, {"Friday", "on Friday"}, {"Saturday", "on Saturday"},
    {"Sunday", "on Sunday"}};

static const char *const en_names[] = {
    "Alice", "Amy", "Andrew", "Anna", "Ben", "Brian", "Carol", "Chloe", "Chris", "Claire", "Daniel",
    "David", "Diana", "Edward", "Ella", "Emily", "Emma", "Ethan", "Fiona", "Frank", "George", "Grace",
    "Hannah", "Harry", "Helen", "Henry", "Ian", "Isla", "Jack", "James", "Jane", "Jason", "Julia", "Karen",
    "Kate", "Kevin", "Laura", "Leo", "Liam", "Linda", "Lucy", "Maria", "Mark", "Martin", "Mary", "Megan",
    "Mia", "Michael", "Nathan", "Nina", "Noah", "Oliver", "Olivia", "Oscar", "Paul", "Peter", "Rachel",
    "Robert", "Ruby", "Ryan", "Sam", "Sarah", "Simon", "Sophie", "Steven", "Susan", "Thomas", "Victor",
    "Wendy", "William", NULL};

static const char *const en_cities[] = {
    "Atlanta", "Austin", "Baltimore", "Boston", "Chicago", "Cleveland", "Dallas", "Denver", "Detroit",
    "Fresno", "Houston", "Memphis", "Miami", "Nashville", "Oakland", "Omaha", "Orlando", "Phoenix",
    "Portland", "Raleigh", "Sacramento", "Seattle", "Tampa", "Tucson", "Tulsa", "Toronto", "Vancouver",
    "Montreal", "London", "Dublin", "Paris", "Madrid", "Rome", "Vienna", "Berlin", "Munich", "Zurich",
    "Oslo", "Helsinki", "Lisbon", "Athens", "Prague", "Warsaw", "Cairo", "Nairobi", "Mumbai", "Delhi",
    "Bangkok", "Singapore", "Seoul", "Tokyo", "Sydney", "Perth", "Auckland", "Lima", "Bogota", "Santiago",
    "Honolulu", "Anchorage", "Milwaukee", NULL};

static const char *const en_gb_cities[] = {
    "Aberdeen", "Bath", "Belfast", "Birmingham", "Bradford", "Brighton", "Bristol", "Cambridge", "Cardiff",
    "Chester", "Coventry", "Derby", "Dundee", "Durham", "Edinburgh", "Exeter", "Glasgow", "Hull",
    "Inverness", "Leeds", "Leicester", "Lincoln", "Liverpool", "London", "Manchester", "Newcastle",
    "Norwich", "Nottingham", "Oxford", "Plymouth", "Reading", "Sheffield", "Southampton", "Stirling",
    "Swansea", "Winchester", "Worcester", "York", "Dublin", "Paris", "Madrid", "Rome", "Vienna", "Berlin",
    "Munich", "Zurich", "Oslo", "Helsinki", "Lisbon", "Athens", "Prague", "Warsaw", "Cairo", "Nairobi",
    "Mumbai", "Singapore", "Tokyo", "Sydney", "Toronto", "Boston", NULL};

static const char *const en_artists[] = {
    "Silver Harbor", "The Paper Foxes", "Velvet Comet", "Northern Lanterns", "Copper Moon",
    "The Quiet Engines", "Glass Meadow", "Midnight Orchard", "Hollow Pines", "Electric Teacup",
    "The Lost Umbrellas", "Golden Static", "River and Rust", "Marble Skies", "The Tin Sparrows",
    "Ocean Avenue Nine", "Purple Satellites", "The Slow Rockets", "Winter Carousel", "Neon Sailors",
    "The Wooden Stars", "Crystal Parade", "Bright Hollow", "Sunday Machines", "The Blue Compass",
    "Echo Garden", "Desert Choir", "The Lemon Kings", "Falling Maps", "Thunder Cottage", "The Night Bakers",
    "Saffron Wolves", "Distant Kites", "Ivory Trains", "The Honest Ghosts", "Cloud Atlantic",
    "Rocket Parlor", "The Green Pianos", "Misty Canyon", "Seven Lighthouses", NULL};

static const char *const en_restaurants[] = {
    "Blue Lantern", "Olive Garden House", "The Copper Pot", "Red Door Bistro", "Maple Table",
    "The Hungry Fox", "Casa Verde", "Silver Spoon Grill", "The Salty Anchor", "Green Fig",
    "Old Mill Kitchen", "Sunset Terrace", "The Golden Whisk", "Pepper and Thyme", "Harbor View",
    "The Brick Oven", "Lemon Tree Cafe", "Willow Room", "The Rusty Fork", "Basil Corner",
    "Stone Bridge Inn", "The Corner Plate", "Wild Berry", "Cedar Hall", "The Tall Oak", "Saffron Palace",
    "Moonlight Diner", "The Iron Skillet", "River Song", "Tomato Street", "The Blue Oyster", "Garden Gate",
    "Pine and Ember", "The Velvet Chair", "Orchard Row", "Little Napoli", "Juniper Nook", "The White Plum",
    "Amber Light", "Cinnamon Lane", NULL};

static const char *const en_titles[] = {
    "Team meeting", "Dentist visit", "Yoga class", "Movie night", "Book club", "Piano lesson",
    "Project review", "Family dinner", "Car service", "Budget call", "Birthday party", "Vacation planning",
    "Job interview", "Swimming practice", "Parent evening", "Design workshop", "Sales report",
    "Garden work", "Eye exam", "Board meeting", "Soccer training", "Coffee break", "Art course",
    "House tour", "Tax meeting", "Dance class", "Product demo", "Customer call", "Choir practice",
    "Game night", "Flu shot", "Spanish lesson", "Photo session", "Staff lunch", "Chess club", "Blood test",
    "Weekly sync", "Cooking course", "Team breakfast", "Safety training", NULL};

static const char *const en_items[] = {
    "lunch", "taxi", "train ticket", "hotel", "parking", "coffee", "books", "printer paper", "flowers",
    "gas", "dinner", "breakfast", "stamps", "software", "headphones", "keyboard", "office chair",
    "phone bill", "snacks", "groceries", "museum ticket", "bus ticket", "pens", "postage", "gift card",
    "haircut", "shoes", "medicine", "batteries", "umbrella", NULL};

static const char *const en_products[] = {
    "notebooks", "pencils", "coffee mugs", "desk lamps", "folders", "envelopes", "water bottles", "chairs",
    "candles", "towels", "pillows", "plates", "glasses", "light bulbs", "batteries", "cables", "backpacks",
    "posters", "stickers", "name tags", "whiteboards", "markers", "calendars", "boxes", "blankets",
    "baskets", "mirrors", "clocks", "trays", "hooks", NULL};

static const char *const en_texts[] = {
    "Running late", "Call me back", "See you soon", "Happy birthday", "I am home", "Dinner is ready",
    "Good luck today", "Thanks for everything", "On my way", "Please buy milk", "The train is late",
    "Meeting is cancelled", "Have a safe trip", "Get well soon", "Where are you", "I found it",
    "Good night", "Let us talk", "Almost there", "Bring your laptop", "No problem", "Great job",
    "Open the door", "Wait for me", NULL};

static const synth_phrases en_phrases[SYNTH_N_INTENTS] = {
    [SYNTH_SET_LIGHT] =
        {{"Set the {room} light to {level} percent.", "Dim the {room} lights to {level}%.",
          "Make the light {inroom} {level} percent.", "I want {level}% light {inroom}.",
          "Turn the {room} lamp to {level}%.",
          "Lights {inroom} at {level} percent, please.", "Put the {room} lights on {level}%.",
          "Change the brightness {inroom} to {level} percent.",
          "{level} percent light for the {room}, please."},
         {"Could you set the lights {inroom} to {level}%?",
          "Bring the {room} light to {level} percent, please.",
          "Please dim the light {inroom} to {level} percent."},
         {"Okay, {room} lights at {level} percent.", "The light {inroom} is now at {level}%.",
          "Done: {level} percent light {inroom}.", "Sure, the {room} lamp is at {level} percent."}},
    [SYNTH_SET_HEATING] =
        {{"Set the {room} heating to {degrees} degrees.", "Heat the {room} to {degrees} degrees.",
          "I want {degrees} degrees {inroom}.", "Make it {degrees} degrees {inroom}.",
          "Turn the heating {inroom} to {degrees} degrees.",
          "Put the {room} thermostat at {degrees} degrees.",
          "The {room} should be {degrees} degrees warm.", "Please keep the {room} at {degrees} degrees.",
          "{degrees} degrees for the {room}, please."},
         {"Could you heat the {room} to {degrees} degrees?",
          "Set the thermostat {inroom} to {degrees} degrees.",
          "Please make the {room} {degrees} degrees warm."},
         {"Okay, heating {inroom} at {degrees} degrees.", "The {room} will be {degrees} degrees warm.",
          "Done: {degrees} degrees {inroom}.", "Sure, the {room} thermostat is at {degrees} degrees."}},
    [SYNTH_PLAY_MUSIC] =
        {{"Play {artist}.", "Play music by {artist}.", "I want to hear {artist}.", "Put on {artist}, please.",
          "Start some songs by {artist}.", "Let me listen to {artist}.", "Play something by {artist}.",
          "Music by {artist}, please.", "Can you play {artist}?"},
         {"I would like to listen to {artist}.", "Please play some music by {artist}.",
          "Put on some songs by {artist}."},
         {"Okay, playing {artist}.", "Here is music by {artist}.", "Now playing {artist}.",
          "Sure, songs by {artist}."},
         {"Find {artist} and play it.", "I am in the mood for {artist}.",
          "Could we have {artist} now?", "Please start {artist}.", "Play the new songs by {artist}.",
          "Something by {artist} would be nice."}},
    [SYNTH_SET_ALARM] =
        {{"Set an alarm for {time}.", "Wake me up at {time}.", "I need an alarm at {time}.",
          "Alarm at {time}, please.",
          "Please wake me at {time}.", "Set my alarm to {time}.", "Can you set an alarm for {time}?",
          "I have to get up at {time}.", "Make the alarm ring at {time}."},
         {"Could you wake me up at {time}?", "Please set the alarm to {time}.",
          "I want an alarm for {time}."},
         {"Okay, alarm at {time}.", "I will wake you at {time}.", "Your alarm is set for {time}.",
          "Sure, the alarm will ring at {time}."}},
    [SYNTH_CREATE_EVENT] =
        {{"Add {title} {onday} at {time}.", "Put {title} in my calendar {onday} at {time}.",
          "Schedule {title} for {day} at {time}.",
          "New event: {title}, {day}, {time}.", "I have {title} {onday} at {time}.",
          "Plan {title} for {day}, {time}.",
          "{day} at {time}: {title}. Please add it.", "Create an event {title} {onday} at {time}.",
          "At {time} {onday} I have {title}, add it."},
         {"Please schedule {title} {onday} at {time}.", "Put {title} on {day} at {time} in the calendar.",
          "Create {title} for {day} at {time}, please."},
         {"Okay, {title} {onday} at {time}.", "{title} is in your calendar {onday} at {time}.",
          "Added: {title}, {day}, {time}.", "Sure, {title} is planned for {day} at {time}."},
         {"Could you add {title} for {day} at {time}?", "Please put down {title} {onday} at {time}.",
          "Book {title} {onday} at {time}.", "Note {title} for {day} at {time}, please.",
          "I would like {title} {onday} at {time} in my calendar.",
          "Remember {title} {onday} at {time}, please."}},
    [SYNTH_SEND_MESSAGE] =
        {{"Tell {to}: {text}.", "Send {to} a message: {text}.", "Write to {to}: {text}.",
          "Text {to}: {text}.",
          "Message to {to}: {text}.", "Let {to} know: {text}.", "Send \"{text}\" to {to}.",
          "Text \"{text}\" to {to}, please.",
          "Please write {to}: {text}."},
         {"Send a message to {to}: {text}.", "Please tell {to}: {text}.", "Write \"{text}\" to {to}."},
         {"Okay, I told {to}: {text}.", "Message sent to {to}: {text}.", "I wrote to {to}: {text}.",
          "Sure, \"{text}\" went to {to}."},
         {"Please let {to} know: {text}.", "Could you tell {to}: {text}?",
          "Send this to {to}: {text}.", "Please send \"{text}\" to {to}.",
          "A message for {to}: {text}.", "Could you write to {to}: {text}?"}},
    [SYNTH_FIND_FLIGHT] =
        {{"Find a flight from {from} to {to}.", "I want to fly from {from} to {to}.",
          "Flights from {from} to {to}, please.",
          "Show me flights from {from} to {to}.", "I need a flight to {to} from {from}.",
          "Fly me from {from} to {to}.",
          "Is there a flight from {from} to {to}?", "Look for a flight to {to}, leaving from {from}.",
          "Search flights {from} to {to}."},
         {"Could you find flights from {from} to {to}?", "I would like a flight from {from} to {to}.",
          "Please look for flights to {to} from {from}."},
         {"Okay, flights from {from} to {to}.", "Looking for a flight from {from} to {to}.",
          "Here are flights from {from} to {to}.",
          "Sure, I will check flights from {from} to {to}."},
         {"Can you show flights from {from} to {to}?", "Please find a flight to {to} from {from}.",
          "I am looking for flights from {from} to {to}."}},
    [SYNTH_BOOK_HOTEL] =
        {{"Book a hotel in {city} for {nights} nights.", "I need a hotel in {city} for {nights} nights.",
          "{nights} nights in {city}, please book a hotel.", "Reserve a room in {city} for {nights} nights.",
          "Find me a hotel in {city}, {nights} nights.", "I stay {nights} nights in {city}, book a hotel.",
          "Get a hotel room in {city} for {nights} nights.", "Hotel in {city}, {nights} nights, please.",
          "Please book {nights} nights in a hotel in {city}."},
         {"Could you book a hotel in {city} for {nights} nights?",
          "I want a hotel in {city} for {nights} nights.",
          "Please reserve {nights} nights at a hotel in {city}."},
         {"Okay, a hotel in {city} for {nights} nights.",
          "Your hotel in {city} is booked for {nights} nights.",
          "Done: {nights} nights in {city}.", "Sure, {nights} nights at a hotel in {city}."},
         {"Can you find a hotel in {city} for {nights} nights?",
          "I would like {nights} nights in a hotel in {city}.",
          "Please find a room in {city} for {nights} nights."}},
    [SYNTH_BOOK_TABLE] =
        {{"Book a table at {name} for {people} people at {time}.",
          "Reserve a table for {people} at {name}, {time}.",
          "A table at {name} at {time} for {people} people, please.",
          "We are {people} people and want to eat at {name} at {time}.",
          "Table for {people} at {name} at {time}.", "Get us a table at {name}, {people} people, {time}.",
          "At {time} I need a table for {people} at {name}.",
          "Please reserve {name} for {people} people at {time}.",
          "Dinner at {name} for {people} people at {time}, please book."},
         {"Could you book a table for {people} people at {name} at {time}?",
          "I want a table at {name} for {people} at {time}.",
          "Please reserve a table at {name} at {time} for {people} people."},
         {"Okay, {name} for {people} people at {time}.",
          "Your table at {name} is booked for {people} at {time}.",
          "Done: {people} people at {name}, {time}.", "Sure, a table for {people} at {name} at {time}."},
         {"Can we eat at {name} at {time}? We are {people}.",
          "Could you get a table for {people} at {name} at {time}?",
          "I would like to reserve {name} at {time} for {people}.",
          "We want a table for {people} people at {name} at {time}.",
          "Please book {name}, {people} people, at {time}.",
          "Find us a table at {name} for {people} at {time}."}},
    [SYNTH_CONTACT] =
        {{"New contact: {name}, {city}, {phone}.", "Save {name} from {city}, phone {phone}.",
          "{name} lives in {city}, number {phone}.",
          "Add {name} in {city} with the number {phone}.", "This is {name} from {city}, my phone is {phone}.",
          "The number of {name} in {city} is {phone}.", "Contact {name}, phone {phone}, city {city}.",
          "Call {name} in {city} at {phone}.", "Write down {name}, {phone}, from {city}."},
         {"Save the contact {name}, {phone}, from {city}.", "Add {name} from {city}, number {phone}.",
          "{name} in {city} has the phone number {phone}."},
         {"Okay, {name} in {city}, phone {phone}.", "Saved: {name} from {city}, {phone}.",
          "{name} from {city} has the number {phone}.",
          "Sure, I noted {name}, {city}, {phone}."},
         {"Please save {name} in {city}, phone number {phone}.",
          "The phone number of {name} from {city} is {phone}.",
          "Could you note {name}, {city}, {phone}?"}},
    [SYNTH_EXPENSE] =
        {{"I spent {amount} dollars on {item}.", "Expense: {item}, {amount} dollars.",
          "{amount} dollars for {item}.",
          "Add {amount} dollars for {item}.", "I paid {amount} dollars for {item}.",
          "Note an expense: {item} for {amount} dollars.",
          "My {item} cost me {amount} dollars.", "Please record {item}, {amount} dollars.",
          "Book {amount} dollars under {item}."},
         {"I had to pay {amount} dollars for {item}.", "Record an expense of {amount} dollars for {item}.",
          "Please note {amount} dollars spent on {item}."},
         {"Okay, {amount} dollars for {item}.", "Noted: {item}, {amount} dollars.",
          "{amount} dollars for {item} is recorded.",
          "Sure, {item} cost {amount} dollars."},
         {"Please add an expense of {amount} dollars for {item}.",
          "I had {amount} dollars of costs for {item}.",
          "Write down {amount} dollars spent on {item}.", "For {item} I paid {amount} dollars."}},
    [SYNTH_ORDER] =
        {{"Order {count} {product}.", "I need {count} {product}.", "Please order {count} {product}.",
          "We want {count} {product}.",
          "{count} {product}, please.", "Buy {count} {product} for us.", "Can I get {count} {product}?",
          "Send us {count} {product}.", "New order: {product}, {count} pieces."},
         {"I would like to order {count} {product}.", "We need to buy {count} {product}.",
          "Could you order {count} {product}?"},
         {"Okay, {count} {product}.", "Your order: {count} {product}.", "{count} {product} are ordered.",
          "Sure, I will order {count} {product}."},
         {"Could you get us {count} {product}?", "I want to buy {count} {product}.",
          "We need to get {count} {product}, please."}},
    [SYNTH_APPOINTMENT] =
        {{"{name} has an appointment {onday} at {time}.", "Appointment for {name}, {day}, {time}.",
          "I am {name} and can come {onday} at {time}.", "Please put {name} down for {day} at {time}.",
          "{day} at {time} for {name}, please.", "An appointment {onday} at {time} for {name}.",
          "{name} is coming {onday} at {time}.",
          "At {time} {onday}: {name}.", "Give {name} a slot {onday} at {time}."},
         {"Book an appointment for {name} {onday} at {time}.", "{name} will come {onday} at {time}.",
          "Please note {name} for {day}, {time}."},
         {"Okay, {name} {onday} at {time}.", "Noted: {name}, {day}, {time}.",
          "{name} has an appointment {onday} at {time}.",
          "Sure, {name} is down for {day} at {time}."},
         {"Could you put {name} down {onday} at {time}?",
          "{name} would like to come {onday} at {time}.", "Please book {name} {onday} at {time}."}},
    [SYNTH_TRIP] =
        {{"A trip from {from} to {to} for {nights} nights.",
          "I travel from {from} to {to} and stay {nights} nights.",
          "We go from {from} to {to}, {nights} nights.", "{nights} nights in {to}, starting from {from}.",
          "Plan a trip from {from} to {to}, {nights} nights.",
          "From {from} to {to} for {nights} nights, please.",
          "Travel request: {from} to {to}, {nights} nights.",
          "I leave {from} for {to} and stay {nights} nights.",
          "Going to {to} from {from}, {nights} nights."},
         {"I want to travel from {from} to {to} for {nights} nights.",
          "Note a trip from {from} to {to}, {nights} nights.",
          "We travel to {to} from {from} for {nights} nights."},
         {"Okay, from {from} to {to} for {nights} nights.", "Your trip: {from} to {to}, {nights} nights.",
          "{nights} nights in {to}, coming from {from}.",
          "Sure, a trip from {from} to {to}, {nights} nights."},
         {"I would like to go from {from} to {to} for {nights} nights.",
          "Please note our trip to {to} from {from}, {nights} nights.",
          "Travelling from {from} to {to}, {nights} nights."}},
    [SYNTH_PERSON] =
        {{"{name} is {age} and lives in {city}.", "My name is {name}, I am {age} and from {city}.",
          "{name}, {age}, from {city}.",
          "{name} from {city} is {age} years old.", "This is {name}, {age} years old, from {city}.",
          "I am {name}, {age}, and I live in {city}.", "In {city} lives {name}, who is {age}.",
          "{name} lives in {city} and is {age} years old.", "Person: {name}, age {age}, city {city}."},
         {"I live in {city}, my name is {name} and I am {age}.",
          "{name} is {age} years old and comes from {city}.",
          "Here is {name} from {city}, {age} years old."},
         {"Okay, {name}, {age}, from {city}.", "{name} is {age} and lives in {city}.",
          "Noted: {name} from {city}, {age} years old.",
          "Sure, {name} in {city} is {age}."},
         {"I come from {city}, I am {name} and {age} years old.",
          "Meet {name}, {age}, who lives in {city}.", "My friend {name} from {city} is {age}.",
          "I am {age}, my name is {name} and I live in {city}."}},
    [SYNTH_SET_TIMER] =
        {{"Set a timer for {minutes} minutes.", "Start a timer, {minutes} minutes.",
          "Timer for {minutes} minutes, please.",
          "Remind me in {minutes} minutes.", "Count down {minutes} minutes."},
         {NULL},
         {"Okay, timer for {minutes} minutes.", "Your timer runs for {minutes} minutes.",
          "{minutes} minutes, starting now."}},
    [SYNTH_GET_WEATHER] =
        {{"How is the weather in {city} {onday}?", "Weather for {city}, {day}, please.",
          "Will it rain in {city} {onday}?",
          "Tell me the weather {onday} in {city}.", "I want the forecast for {city} {onday}."},
         {NULL},
         {"I will check the weather in {city} {onday}.", "The forecast for {city} {onday} is coming.",
          "Okay, weather in {city}, {day}."}},
};

static const char *const en_open[] = {
    "Hi! ", "Hello. ", "Hey, one thing: ", "Quick request: ", "Good morning. ", "Listen: ", NULL};
static const char *const en_open_held[] = {"Hello! ", "Good evening. ", "One request: ", NULL};

static const synth_pair en_chat[] = {
    {"Hello!", "Hello! How can I help?"},
    {"Thank you very much.", "You are welcome."},
    {"How are you?", "I am fine, thank you."},
    {"Tell me a joke.", "I am better at helping than at jokes."},
    {"What is your name?", "I am your assistant."},
    {"Who wrote this book?", "I do not know that, sorry."},
    {"I am bored.", "Maybe a short walk would help."},
    {"Good night.", "Good night, sleep well."},
    {"Do you like cats?", "Cats are lovely animals."},
    {"What is the meaning of life?", "That is a big question."},
    {"Can you cook?", "No, but I can help you plan."},
    {"That was great!", "I am glad you liked it."},
    {NULL, NULL}};

static const char *const en_keys[] = {
    "name", "city", "phone", "street", "size", "code", "item", "animal", "day", "time", "price", "owner",
    "title", NULL};
static const char *const en_ask[] = {
    "What is the {key}?", "Tell me the {key}.", "Which {key} is given?", "{key}?", NULL};
static const char *const en_repeat[] = {"Repeat: {items}", "Say this again: {items}", "Copy: {items}", NULL};
static const char *const en_list[] = {"One per line: {items}", "Make a list: {items}", NULL};
static const char *const en_syllables[] = {
    "ba", "ben", "cor", "da", "del", "fi", "gar", "ho", "in", "ka", "lan", "le", "mo", "mar", "na", "nor",
    "o", "pe", "ri", "ro", "sal", "sha", "ston", "ta", "ter", "thy", "u", "van", "wick", "win", "xa", "yo",
    "za", "field", "ley", "que", NULL};

static const synth_pair en_gb_swap[] = {
    {"dollars", "pounds"}, {"Vacation", "Holiday"}, {"Movie", "Film"}, {"Soccer", "Football"},
    {"gas", "petrol"}, {"Harbor", "Harbour"}, {"Parlor", "Parlour"}, {"hallway", "hall"}, {"Hey", "Right"},
    {NULL, NULL}};

const synth_lang synth_en_us = {
    .locale = "en-US", .rooms = en_rooms, .days = en_days,
    .pools = {en_names, en_cities, en_artists, en_restaurants, en_titles, en_items, en_products, en_texts},
    .phrases = en_phrases, .open = en_open, .open_held = en_open_held, .chat = en_chat,
    .keys = en_keys, .ask = en_ask, .repeat = en_repeat, .list = en_list,
    .syllables = en_syllables, .comma = ", ", .swap = NULL};

const synth_lang synth_en_gb = {
    .locale = "en-GB", .rooms = en_rooms, .days = en_days,
    .pools = {en_names, en_gb_cities, en_artists, en_restaurants, en_titles, en_items, en_products, en_texts},
    .phrases = en_phrases, .open = en_open, .open_held = en_open_held, .chat = en_chat,
    .keys = en_keys, .ask = en_ask, .repeat = en_repeat, .list = en_list,
    .syllables = en_syllables, .comma = ", ", .swap = en_gb_swap};
